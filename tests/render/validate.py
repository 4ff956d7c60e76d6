#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""validate.py SCHEMA: checks each line of standard input; prints the numbers of those that don't conform."""
import json
import sys

import jsonschema

with open(sys.argv[1], encoding="utf-8") as file:
    schema = json.load(file)
validator_class = jsonschema.validators.validator_for(schema)
validator_class.check_schema(schema)
validator = validator_class(schema)
for number, line in enumerate(sys.stdin.buffer, 1):
    if not validator.is_valid(json.loads(line)):
        print(number)
print("done")
