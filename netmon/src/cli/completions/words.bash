# Completes the words of a filter and the topics of the help, which netmon knows. The function above
# completes everything else without a start of netmon.
_netmon_words() {
    _netmon "$@"
    local word last=$2
    local -a before=() words=()
    [[ $last == -* ]] && return
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        word=${word#[\"\']}
        word=${word%[\"\']}
        before+=("${word//\\/}")
    done
    # A word of its own for bash, and replaced by none of the answers.
    if [[ ${COMP_WORDS[COMP_CWORD]} == [=:]* ]]; then
        before+=("${COMP_WORDS[COMP_CWORD]}")
        last=
    fi
    mapfile -t words < <(command netmon completions --words "${before[@]}" "${last#[\"\']}" 2>/dev/null)
    if ((${#words[@]})); then
        COMPREPLY=("${words[@]}")
    fi
}

