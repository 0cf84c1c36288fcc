
# Completes the words of a filter and the topics of the help, which netmon knows.
function __netmon_words
    set -l before (commandline -opc)
    set -e before[1]
    set -l last (commandline -ct | string trim --left --chars "'\"")
    command netmon completions --words $before "$last" 2>/dev/null
end

complete -c netmon -n "__fish_netmon_using_subcommand COMMANDS" -f -a "(__netmon_words)"
