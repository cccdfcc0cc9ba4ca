package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/cni/cache"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/probe"
)

// options are the options of the program; the policy's say what to capture.
type options struct {
	applyOptions
	probeOptions
	explainOptions
	hostOptions
	cniOptions
	auditOptions
	linkerdOptions

	mesh             string
	dataplane        dataplane
	networkNamespace string
	pod              podValue
	cniCache         string
	cniMode          bool
	config           string
	annotations      string
	backend          string

	output   outputFormat
	verbose  bool
	logs     logFormat
	logLevel logLevel

	// The reference's names for some of these.
	forceBinary string
	nativeNft   bool
	logJSON     bool
}

// applyOptions are the options of applying and removing.
type applyOptions struct {
	dryRun, cleanupOnly          bool
	runValidation, skipRuleApply bool
	hostNetwork                  bool
	replaceDataplane             bool
}

type outputFormat string

const (
	outputText outputFormat = "text"
	outputJSON outputFormat = "json"
)

// outputValue is the output format of a verb that does not draw.
type outputValue struct{ pflag.Value }

func (v outputValue) Set(text string) error {
	err := v.Value.Set(text)
	if form := outputFormat(text); form == outputDot || form == outputMermaid {
		return fmt.Errorf("%w: only show draws", err)
	}
	return err
}

type logFormat string

const (
	logText logFormat = "text"
	logJSON logFormat = "json"
)

type logLevel string

const (
	logDebug logLevel = "debug"
	logInfo  logLevel = "info"
	logWarn  logLevel = "warn"
	logError logLevel = "error"
)

// levelSynonyms are the levels of Linkerd's program that have no word here (ParseLevel in
// github.com/sirupsen/logrus).
var levelSynonyms = map[string]string{
	"trace": string(logDebug), "warning": string(logWarn), "fatal": string(logError), "panic": string(logError),
}

// anyCase is a choice of words, in capitals or not.
type anyCase struct{ pflag.Value }

func (v anyCase) Set(text string) error { return v.Value.Set(strings.ToLower(text)) }

// level returns the least severe level that is logged.
func (o *options) level() slog.Level {
	switch {
	case o.verbose || o.logLevel == logDebug:
		return slog.LevelDebug
	case o.logLevel == logWarn:
		return slog.LevelWarn
	case o.logLevel == logError:
		return slog.LevelError
	}
	return slog.LevelInfo
}

// rows returns the options of every verb.
func (o *options) rows() []config.Row {
	return []config.Row{
		{Option: config.Option{
			Name: config.FileOption,
			Usage: "read options from this YAML file: option names without dashes, with values; " +
				"flags and environment override it, and it overrides annotations",
		}, Value: config.File("file", &o.config)},
		{Option: config.Option{
			Name:  annotationsOption,
			Usage: "read the pod's annotations from this file, as the downward API writes it",
		}, Value: config.File("file", &o.annotations)},
		{Option: config.Option{
			Name:  meshOption,
			Usage: "istio, or linkerd, which has other options",
		}, Value: config.Choice("name", &o.mesh, istioMesh, linkerdMesh)},
		{Option: config.Option{
			Name:  dataplaneOption,
			Usage: "sidecar, or ambient, which has other options",
		}, Value: config.Choice("mode", &o.dataplane, modes()...)},
		{Option: config.Option{
			Name: "backend",
			Usage: "where the rules go, and how: iptables-nft (over netlink, listed by iptables), nftables " +
				"(over netlink, nf_tables' own form, listed by nft), iptables-legacy or iptables (by these programs), " +
				"or auto for the first that works",
		}, Value: config.Choice("name", &o.backend, kernel.Names()...)},
		{Option: config.Option{
			Name: namespaceOption, Shared: true, FlagNames: []string{"netns"},
			Usage: "work in the network namespace of this process or file, such as /run/netns/NAME",
		}, Value: config.File("pid|file", &o.networkNamespace)},
		{Option: config.Option{
			Name: podOption, FlagOnly: true,
			Usage: "work in this pod of the machine, by libcni's cache",
		}, Value: &o.pod},
		{Option: config.Option{
			Name:  "cni-cache",
			Usage: "libcni's cache, which tells of the pods",
		}, Value: config.File("folder", &o.cniCache)},
		{Option: config.Option{
			Name: "cni-mode", Shared: true,
			Usage: "run from a node: users and groups must be numbers, because names belong to the pod",
		}, Value: config.Bool(&o.cniMode)},
		{Option: config.Option{
			Name: "output", Letter: "O",
			Usage: "format of the answer: text or json",
		}, Value: outputValue{config.Choice("format", &o.output, outputText, outputJSON)}},
		{Option: config.Option{
			Name: "verbose", Letter: "v",
			Usage: "say what was found and decided",
		}, Value: config.Bool(&o.verbose)},
		{Option: config.Option{
			Name:  "log-format",
			Usage: "format of messages on stderr: text or json",
		}, Value: config.WithSynonyms(config.Choice("format", &o.logs, logText, logJSON), map[string]string{"plain": string(logText)})},
		{Option: config.Option{
			Name:  "log-level",
			Usage: "lowest level of messages: debug, info, warn or error",
		}, Value: anyCase{config.WithSynonyms(config.Choice("level", &o.logLevel, logDebug, logInfo, logWarn, logError), levelSynonyms)}},
		{Option: config.Option{
			Name: "force-iptables-binary", Shared: true, Hidden: true,
			Usage: "as --backend=iptables-nft or --backend=iptables-legacy",
		}, Value: config.Choice("variant", &o.forceBinary, "nft", "legacy", "")},
		{Option: config.Option{
			Name: "native-nftables", Shared: true, Hidden: true,
			Usage: "as --backend=nftables",
		}, Value: config.Bool(&o.nativeNft)},
		{Option: config.Option{
			Name: "log_as_json", Shared: true, Hidden: true,
			Usage: "as --log-format=json",
		}, Value: config.Bool(&o.logJSON)},
	}
}

func (o *applyOptions) rows() []config.Row {
	return []config.Row{
		{Option: config.Option{
			Name: "dry-run", Shared: true, Letter: "n", FlagNames: []string{"simulate"},
			Usage: "print what iptables-save would print after applying with iptables-nft, or with --cleanup-only what would be removed; change nothing",
		}, Value: config.Bool(&o.dryRun)},
		{Option: config.Option{
			Name: "cleanup-only", Shared: true,
			Usage: "remove everything that meshtables, istio-iptables or Linkerd's proxy-init wrote; needs no other option",
		}, Value: config.Bool(&o.cleanupOnly)},
		{Option: config.Option{
			Name: "run-validation", Shared: true,
			Usage: "after applying, open connections and check that they arrive at the proxy's ports",
		}, Value: config.Bool(&o.runValidation)},
		{Option: config.Option{
			Name: "skip-rule-apply", Shared: true,
			Usage: "do not apply rules",
		}, Value: config.Bool(&o.skipRuleApply)},
		{Option: config.Option{
			Name:  "host-network",
			Usage: "apply even if this looks like the host's own network namespace",
		}, Value: config.Bool(&o.hostNetwork)},
		{Option: config.Option{
			Name:  "replace-dataplane",
			Usage: "replace the rules of another --mesh or --dataplane-mode too, in one step",
		}, Value: config.Bool(&o.replaceDataplane)},
	}
}

// commandLine is a command line with its options, before their values are read.
type commandLine struct {
	choice
	policy  capture.Policy
	capture capture.Options
	set     *pflag.FlagSet
	flags   *config.Flags
	files   files
	help    bool
	version bool
	options options
}

// newCommandLine returns the command line of a verb with the options of the policy of the
// chosen dataplane.
func newCommandLine(v verb, chosen choice) *commandLine {
	policy := chosen.dataplane.policy()
	options := policy.Options()
	c := newCommandLineOf(v, options.Rows())
	c.choice, c.policy, c.capture = chosen, policy, options
	chosen.dataplane.mentionOthers(c.flags)
	return c
}

// newCommandLineOf returns the command line of a verb with some policy's options.
func newCommandLineOf(v verb, rows []config.Row) *commandLine {
	c := &commandLine{set: pflag.NewFlagSet("meshtables", pflag.ContinueOnError), files: make(files)}
	c.set.SortFlags = false
	c.set.SetOutput(io.Discard)
	c.flags = config.NewFlags(c.set, rows)
	c.register(v)
	return c
}

// register registers the options of the program.
func (c *commandLine) register(v verb) {
	o := &c.options
	o.output, o.logs, o.logLevel, o.backend, o.dataplane = outputText, logText, logInfo, kernel.Auto, ofSidecars
	o.mesh = istioMesh
	o.probeTimeout, o.cniCache = probe.DefaultTimeout, cache.Default
	rows := slices.Concat(o.rows(), o.linkerdOptions.rows())
	if v.options != nil {
		own := v.options(o)
		// A verb may have more values for an option of every verb.
		rows = append(own, slices.DeleteFunc(rows, func(r config.Row) bool {
			return slices.ContainsFunc(own, func(o config.Row) bool { return o.Name == r.Name })
		})...)
	}
	for _, row := range rows {
		c.flags.Register(row)
	}
	c.flags.Mention(ownOptions, "")
	c.set.BoolVarP(&c.help, "help", "h", false, "show this help")
	c.set.BoolVar(&c.version, "version", false, "show the version")
	registerMeaningless(c.set)
}

// meaningless are the references' flags without a meaning here: what they ask for is
// always done, or what they tune does not exist. meaninglessSwitches take no value.
var (
	meaningless = []string{
		"iptables-probe-port", "iptables-version",
		"log_caller", "log_output_level", "log_rotate", "log_rotate_max_age", "log_rotate_max_backups",
		"log_rotate_max_size", "log_stacktrace_level", "log_target", "vklog", linkerdSave,
	}
	meaninglessSwitches = []string{"force-apply", "iptables-trace-logging", "reconcile", "restore-format", linkerdWait}
)

func registerMeaningless(set *pflag.FlagSet) {
	for _, name := range meaningless {
		set.String(name, "", "")
	}
	for _, name := range meaninglessSwitches {
		set.BoolP(name, map[string]string{linkerdWait: "w"}[name], false, "")
	}
	for _, name := range slices.Concat(meaningless, meaninglessSwitches) {
		set.Lookup(name).Hidden = true
	}
}

// readOptions reads the options of the program. With an error it returns those that it
// could read: the format of messages is needed to report the error.
func (c *commandLine) readOptions(env []string) (options, error) {
	errs := []error{c.addFile(env), c.flags.Apply(env)}
	o := c.options
	if err := o.linkerdOptions.apply(&o); err != nil {
		errs = append(errs, err)
	}
	if o.forceBinary != "" {
		errs = append(errs, o.setBackend("--force-iptables-binary="+o.forceBinary, "iptables-"+o.forceBinary))
	}
	if o.nativeNft {
		errs = append(errs, o.setBackend("--native-nftables", kernel.Native))
	}
	if o.logJSON {
		o.logs = logJSON
	}
	return o, errors.Join(errs...)
}

func (o *options) setBackend(option string, backend string) error {
	if o.backend != kernel.Auto && o.backend != backend {
		return fmt.Errorf("%s and --backend=%s: must be the same, because they are one option", option, o.backend)
	}
	o.backend = backend
	return nil
}

// misspelt returns warnings about variables that are nearly those of options.
func (c *commandLine) misspelt(env []string) []string {
	reference, foreign := c.capture.Variables()
	return c.flags.Misspelt(env, reference, foreign)
}

// ignored returns a sentence about the meaningless flags that were given, or "".
func (c *commandLine) ignored() string {
	var given []string
	of := "istio-iptables"
	for _, name := range slices.Concat(meaningless, meaninglessSwitches) {
		if c.set.Changed(name) {
			given = append(given, "--"+name)
			if slices.Contains(linkerdNames, name) {
				of = "Linkerd's proxy-init"
			}
		}
	}
	if given == nil {
		return ""
	}
	return "these options of " + of + " have no effect here: " + strings.Join(given, ", ")
}
