# SPDX-License-Identifier: GPL-2.0
# bash completion for pathtrace(1)

_pathtrace() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} i
  COMPREPLY=()

  # What follows -- is another command's.
  for ((i = 1; i < COMP_CWORD; i++)); do
    if [[ ${COMP_WORDS[i]} == -- ]]; then
      if declare -F _command_offset >/dev/null; then
        _command_offset $((i + 1))
      elif ((COMP_CWORD == i + 1)); then
        mapfile -t COMPREPLY < <(compgen -c -- "$cur")
      else
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
      fi
      return
    fi
  done

  case $prev in
    -p | --proto)
      mapfile -t COMPREPLY < <(compgen -W 'tcp udp icmp icmpv6 arp' -- "$cur")
      return ;;
    -i | --interface)
      mapfile -t COMPREPLY < <(cd /sys/class/net 2>/dev/null && compgen -f -- "$cur")
      return ;;
    --netns)
      mapfile -t COMPREPLY < <(
        compgen -W self -- "$cur"
        cd /run/netns 2>/dev/null && compgen -f -- "$cur")
      return ;;
    -w | --write | -r | --read)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$cur")
      return ;;
    --sport | --dport | --port)
      mapfile -t COMPREPLY < <(compgen -A service -- "$cur")
      return ;;
    -s | --src | -d | --dst | --host | -c | --count | --duration | --ready-fd | --max-rules | --buffer)
      return ;;
  esac

  mapfile -t COMPREPLY < <(compgen -W '
    -p --proto -s --src -d --dst --host --sport --dport --port -i --interface --netns
    -4 --ipv4 -6 --ipv6 --all-packets
     --json -w --write -r --read -n --numeric -q --quiet -v --verbose
     -c --count --duration --ready-fd --trace-key --no-trace-key --no-fentry --max-rules --buffer -V --version -h --help' -- "$cur")
}
complete -F _pathtrace pathtrace
