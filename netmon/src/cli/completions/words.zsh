# Completes the words of a filter and the topics of the help, which netmon knows.
_netmon_words() {
    local -a found
    found=("${(@f)$(command netmon completions --words "${(@Q)words[1,CURRENT-1]}" "$PREFIX" 2>/dev/null)}")
    [[ -n $found ]] && compadd -a found
}

