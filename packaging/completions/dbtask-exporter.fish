# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_dbtask_exporter_global_optspecs
    string join \n config.file= config.check config.enable-auto-reload storage.path= web.listen-address= web.config.file= web.enable-lifecycle web.telemetry-path= log.level= log.format= h/help V/version
end

function __fish_dbtask_exporter_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_dbtask_exporter_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_dbtask_exporter_using_subcommand
    set -l cmd (__fish_dbtask_exporter_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c dbtask-exporter -n "__fish_dbtask_exporter_needs_command" -l config.file -d 'Configuration, YAML; left out: one source from the DBTASK_ variables' -r -F
complete -c dbtask-exporter -n "__fish_dbtask_exporter_needs_command" -l storage.path -d 'The folder of the journal, in which counters and tasks survive a restart; left out: nothing does' -r -F
complete -c dbtask-exporter -n "__fish_dbtask_exporter_needs_command" -l web.listen-address -d 'Where to listen: `:port` for all interfaces, or `host:port`. May be given more than once' -r
complete -c dbtask-exporter -n "__fish_dbtask_exporter_needs_command" -l web.config.file -d 'TLS, client certificates, passwords, headers and a rate limit, in the format of the Prometheus exporter-toolkit; left out: plain HTTP for everybody' -r -F
complete -c dbtask-exporter -n "__fish_dbtask_exporter_needs_command" -l web.telemetry-path -d 'Where the metrics are' -r
complete -c dbtask-exporter -n "__fish_dbtask_exporter_needs_command" -l log.level -d 'What is logged, to standard error. Default: info when serving or simulating, else warn' -r -f -a "trace\t'Every poll'
debug\t'Every call to a cloud, and every connection that breaks off'
info\t'What an operator may want to know'
warn\t'What is wrong, and will be tried again'
error\t'What needs somebody'"
complete -c dbtask-exporter -n "__fish_dbtask_exporter_needs_command" -l log.format -d 'How it is logged' -r -f -a "logfmt\t'`ts=… level=info message="…" key=value`'
json\t'One object a line'"
complete -c dbtask-exporter -n "__fish_dbtask_exporter_needs_command" -l config.check -d 'Check the configuration, print what is wrong with it, and exit'
complete -c dbtask-exporter -n "__fish_dbtask_exporter_needs_command" -l config.enable-auto-reload -d 'Reload the configuration whenever its file has changed. SIGHUP always does'
complete -c dbtask-exporter -n "__fish_dbtask_exporter_needs_command" -l web.enable-lifecycle -d 'Let everybody reload the configuration by POST /-/reload. Without it that takes a password of the web configuration'
complete -c dbtask-exporter -n "__fish_dbtask_exporter_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c dbtask-exporter -n "__fish_dbtask_exporter_needs_command" -s V -l version -d 'Print version'
complete -c dbtask-exporter -n "__fish_dbtask_exporter_needs_command" -f -a "check" -d 'Check a configuration and print its sources'
complete -c dbtask-exporter -n "__fish_dbtask_exporter_needs_command" -f -a "tasks" -d 'Poll every source once and print its tasks'
complete -c dbtask-exporter -n "__fish_dbtask_exporter_needs_command" -f -a "healthcheck" -d 'Ask a running exporter how it is; exit status 0 if it is well'
complete -c dbtask-exporter -n "__fish_dbtask_exporter_needs_command" -f -a "simulate" -d 'Simulate the clouds; prints a configuration for them'
complete -c dbtask-exporter -n "__fish_dbtask_exporter_needs_command" -f -a "demo" -d 'Simulate the clouds and serve their metrics: everything, without an account'
complete -c dbtask-exporter -n "__fish_dbtask_exporter_using_subcommand check" -l log.level -d 'What is logged, to standard error. Default: info when serving or simulating, else warn' -r -f -a "trace\t'Every poll'
debug\t'Every call to a cloud, and every connection that breaks off'
info\t'What an operator may want to know'
warn\t'What is wrong, and will be tried again'
error\t'What needs somebody'"
complete -c dbtask-exporter -n "__fish_dbtask_exporter_using_subcommand check" -l log.format -d 'How it is logged' -r -f -a "logfmt\t'`ts=… level=info message="…" key=value`'
json\t'One object a line'"
complete -c dbtask-exporter -n "__fish_dbtask_exporter_using_subcommand check" -l online -d 'Ask each source one question too, and print what is wrong, what permission is missing, and the least policy that grants it'
complete -c dbtask-exporter -n "__fish_dbtask_exporter_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c dbtask-exporter -n "__fish_dbtask_exporter_using_subcommand tasks" -l config.file -d 'Configuration, YAML; left out: one source from the DBTASK_ variables' -r -F
complete -c dbtask-exporter -n "__fish_dbtask_exporter_using_subcommand tasks" -l output -d 'How to print them' -r -f -a "table\t'For people, with progress bars on a terminal'
json\t'As `/api/v1/tasks` answers'"
complete -c dbtask-exporter -n "__fish_dbtask_exporter_using_subcommand tasks" -l log.level -d 'What is logged, to standard error. Default: info when serving or simulating, else warn' -r -f -a "trace\t'Every poll'
debug\t'Every call to a cloud, and every connection that breaks off'
info\t'What an operator may want to know'
warn\t'What is wrong, and will be tried again'
error\t'What needs somebody'"
complete -c dbtask-exporter -n "__fish_dbtask_exporter_using_subcommand tasks" -l log.format -d 'How it is logged' -r -f -a "logfmt\t'`ts=… level=info message="…" key=value`'
json\t'One object a line'"
complete -c dbtask-exporter -n "__fish_dbtask_exporter_using_subcommand tasks" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c dbtask-exporter -n "__fish_dbtask_exporter_using_subcommand healthcheck" -l web.listen-address -d 'Where the exporter on this machine listens; left out with the web configuration: as its own command line says, or :10118 if there is not exactly one' -r
complete -c dbtask-exporter -n "__fish_dbtask_exporter_using_subcommand healthcheck" -l web.config.file -d 'The web configuration of the exporter on this machine; with TLS in it, HTTPS is spoken' -r -F
complete -c dbtask-exporter -n "__fish_dbtask_exporter_using_subcommand healthcheck" -l tls.cert-file -d 'A certificate to show, PEM, where the exporter lets nobody in without one' -r -F
complete -c dbtask-exporter -n "__fish_dbtask_exporter_using_subcommand healthcheck" -l tls.key-file -d 'Its private key, PEM' -r -F
complete -c dbtask-exporter -n "__fish_dbtask_exporter_using_subcommand healthcheck" -l log.level -d 'What is logged, to standard error. Default: info when serving or simulating, else warn' -r -f -a "trace\t'Every poll'
debug\t'Every call to a cloud, and every connection that breaks off'
info\t'What an operator may want to know'
warn\t'What is wrong, and will be tried again'
error\t'What needs somebody'"
complete -c dbtask-exporter -n "__fish_dbtask_exporter_using_subcommand healthcheck" -l log.format -d 'How it is logged' -r -f -a "logfmt\t'`ts=… level=info message="…" key=value`'
json\t'One object a line'"
complete -c dbtask-exporter -n "__fish_dbtask_exporter_using_subcommand healthcheck" -l ready -d 'Ask whether every source has been tried once, not only whether the process serves'
complete -c dbtask-exporter -n "__fish_dbtask_exporter_using_subcommand healthcheck" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c dbtask-exporter -n "__fish_dbtask_exporter_using_subcommand simulate" -l web.listen-address -d 'Where to listen; port 0 takes a free one' -r
complete -c dbtask-exporter -n "__fish_dbtask_exporter_using_subcommand simulate" -l scenario -d 'What the clouds go through, YAML; left out: the scenario of the demo' -r -F
complete -c dbtask-exporter -n "__fish_dbtask_exporter_using_subcommand simulate" -l log.level -d 'What is logged, to standard error. Default: info when serving or simulating, else warn' -r -f -a "trace\t'Every poll'
debug\t'Every call to a cloud, and every connection that breaks off'
info\t'What an operator may want to know'
warn\t'What is wrong, and will be tried again'
error\t'What needs somebody'"
complete -c dbtask-exporter -n "__fish_dbtask_exporter_using_subcommand simulate" -l log.format -d 'How it is logged' -r -f -a "logfmt\t'`ts=… level=info message="…" key=value`'
json\t'One object a line'"
complete -c dbtask-exporter -n "__fish_dbtask_exporter_using_subcommand simulate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c dbtask-exporter -n "__fish_dbtask_exporter_using_subcommand demo" -l web.listen-address -d 'Where to serve metrics' -r
complete -c dbtask-exporter -n "__fish_dbtask_exporter_using_subcommand demo" -l scenario -d 'What the clouds go through, YAML; left out: a scenario with everything in it' -r -F
complete -c dbtask-exporter -n "__fish_dbtask_exporter_using_subcommand demo" -l log.level -d 'What is logged, to standard error. Default: info when serving or simulating, else warn' -r -f -a "trace\t'Every poll'
debug\t'Every call to a cloud, and every connection that breaks off'
info\t'What an operator may want to know'
warn\t'What is wrong, and will be tried again'
error\t'What needs somebody'"
complete -c dbtask-exporter -n "__fish_dbtask_exporter_using_subcommand demo" -l log.format -d 'How it is logged' -r -f -a "logfmt\t'`ts=… level=info message="…" key=value`'
json\t'One object a line'"
complete -c dbtask-exporter -n "__fish_dbtask_exporter_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
