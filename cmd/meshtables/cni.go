package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/cni"
	"github.com/meshtables/meshtables/iptables/cni/install"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/ready"
)

// cniOptions are the options of the verb cni.
type cniOptions struct {
	installMode    install.Mode
	watch          bool
	leaveMissed    bool
	force          bool
	readyAddress   netip.AddrPort
	plugins        string
	networks       string
	network        string
	proxyUsers     []cni.ProxyUser
	exclude        []string
	without        string
	sandboxed      string
	pluginLogFile  string
	pluginLogLevel string
}

func (o *cniOptions) rows() []config.Row {
	o.plugins, o.networks = install.DefaultPlugins, install.DefaultNetworks
	o.installMode = install.ModeEntry
	return []config.Row{
		{Option: config.Option{
			Name:  "install-mode",
			Usage: "its way into the network: entry, own, drop-in",
		}, Value: config.Choice("mode", &o.installMode, install.Modes()...)},
		{Option: config.Option{
			Name: "watch", Usage: "stay: keep it in place, and capture pods that came too early; or uninstall when no pod needs it any more",
		}, Value: config.Bool(&o.watch)},
		{Option: config.Option{
			Name: "leave-missed", Usage: "with --watch, leave alone pods that came too early",
		}, Value: config.Bool(&o.leaveMissed)},
		{Option: config.Option{
			Name: "force", FlagOnly: true, Usage: "with uninstall, remove the program at once",
		}, Value: config.Bool(&o.force)},
		{Option: config.Option{
			Name:  "ready-address",
			Usage: "with --watch, answer HTTP requests: 200 if the plugin is in place (uninstall: gone), else 503 and why",
		}, Value: config.AddrPort(&o.readyAddress)},
		{Option: config.Option{
			Name: "plugin-folder", Usage: "the folder of the node's CNI plugins",
		}, Value: config.File("folder", &o.plugins)},
		{Option: config.Option{
			Name: "network-folder", Usage: "the folder of the node's CNI networks",
		}, Value: config.File("folder", &o.networks)},
		{Option: config.Option{
			Name:  "network-file",
			Usage: "the file there that the runtime uses (default the first)",
		}, Value: config.File("name", &o.network)},
		{Option: config.Option{
			Name:  "proxy-users",
			Usage: "the proxy's users by namespace; the longest pattern counts",
		}, Value: cni.ProxyUsers(&o.proxyUsers)},
		{Option: config.Option{
			Name: "exclude-namespaces", Usage: "namespaces of Kubernetes whose pods the plugin leaves alone",
		}, Value: config.Words("names", &o.exclude)},
		{Option: config.Option{
			Name:  "without-annotations",
			Usage: "what the plugin does if the runtime hands over no annotations: " + strings.Join(cni.WithoutAnnotations(), ", ") + " (default fail)",
		}, Value: config.Choice("word", &o.without, cni.WithoutAnnotations()...)},
		{Option: config.Option{
			Name:  "sandboxed",
			Usage: "for pods of gVisor, Kata: " + strings.Join(cni.SandboxedWords(), ", ") + " (default fail)",
		}, Value: config.Choice("word", &o.sandboxed, cni.SandboxedWords()...)},
		{Option: config.Option{
			Name: "plugin-log-file", Usage: "where the plugin writes messages (default the runtime's log)",
		}, Value: config.File("file", &o.pluginLogFile)},
		{Option: config.Option{
			Name: "plugin-log-level", Usage: "the lowest level: debug, info, warn or error (default info)",
		}, Value: config.Choice("level", &o.pluginLogLevel, "debug", "info", "warn", "error")},
	}
}

// cniVerb is the verb that has --install-mode.
const cniVerb = "cni"

// nameInstallMode names the option --install-mode where --mode has one of its values: --mode is an
// option of the rules too, and none of its values is one of these.
func nameInstallMode(args []string) []string {
	args = slices.Clone(args)
	for i, arg := range args {
		name, value, joined := strings.Cut(arg, "=")
		if arg == "--" {
			break
		}
		if !joined && i+1 < len(args) {
			value = args[i+1]
		}
		if name == "--mode" && slices.Contains(install.Modes(), install.Mode(value)) {
			args[i] = "--install-mode" + strings.TrimPrefix(arg, name)
		}
	}
	return args
}

// cni installs the plugin on a node, or removes it.
func (c *command) cni(ctx context.Context) int {
	if c.line.dataplane == ofAmbient {
		return c.usageError(fmt.Errorf("--%s %q: has no meaning for the plugin: it leaves the pods of that mode to the mesh's agent", dataplaneOption, c.line.dataplane))
	}
	node := &install.Node{Plugins: c.plugins, Networks: c.networks, Network: c.network, Mode: c.installMode, Cache: c.cniCache}
	switch words := strings.Join(c.line.set.Args(), " "); {
	case words == "install" && c.force:
		return c.usageError(errors.New("--force: only uninstall takes it"))
	case words == "install" && c.watch:
		return c.watchPlugin(ctx, node)
	case words == "install":
		e, err := c.entry()
		if err != nil {
			return c.usageError(err)
		}
		return c.printInstalled(node.Install(e))
	case words == "uninstall" && c.watch:
		if c.force {
			return c.usageError(errors.New("--watch: has nothing to wait for with --force"))
		}
		return c.watchUninstall(ctx, node)
	case words == "uninstall":
		done, err := node.Uninstall(c.force)
		return c.printUninstalled(node, done, err)
	default:
		return c.usageError(fmt.Errorf("cni %q: must be install or uninstall", words))
	}
}

// entry returns the plugin's entry that the options ask for.
func (c *command) entry() (install.Entry, error) {
	e := install.NewEntry()
	e.ExcludeNamespaces, e.WithoutAnnotations, e.Sandboxed, e.LogFile, e.LogLevel = c.exclude, c.without, c.sandboxed, c.pluginLogFile, c.pluginLogLevel
	wanted, warnings, err := c.line.capture.Read(c.line.flags, config.Sources{Env: c.env, Users: config.PodUsers{}, NoNameServers: true})
	if err != nil {
		return e, err
	}
	c.warn(warnings)
	for _, p := range c.proxyUsers {
		if e.ProxyUsers == nil {
			e.ProxyUsers = make(map[string][]uint32)
		}
		e.ProxyUsers[p.Pattern] = append(e.ProxyUsers[p.Pattern], p.User)
	}
	e.Options = make(map[string]string)
	if mesh := c.line.policy.Mesh(); mesh != istioMesh {
		e.Options[meshOption] = mesh
	}
	proxyUser, _ := capture.ProxyUsers(wanted.IDs())
	for _, arg := range wanted.Arguments() {
		name, value, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if (value == "" || name == proxyUser) && c.line.flags.Given(name) == "" {
			// Annotations and the mesh's own values decide. A user that nobody has given must not
			// count as given: see what the plugin does in OpenShift.
			continue
		}
		e.Options[name] = value
	}
	if c.backend != kernel.Auto {
		e.Options["backend"] = c.backend
	}
	return e, nil
}

// watchPlugin installs, and stays to keep the plugin in place until it is told to end. Then
// the plugin stays: pods start without this process too.
func (c *command) watchPlugin(ctx context.Context, node *install.Node) int {
	e, err := c.entry()
	if err != nil {
		return c.usageError(err)
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	end, err := c.answerProbes(node.Check)
	if err != nil {
		return c.failed(err)
	}
	defer end()
	// A network may come later; what is there is made as it should be first.
	done, err := node.Install(e)
	c.tell(done, err)
	// While the plugin is away, pods can start without it.
	away := make(chan struct{}, 1)
	if !c.leaveMissed {
		go c.captureMissed(ctx, away)
	}
	err = node.Watch(ctx, e, func(done install.Done, err error) {
		c.tell(done, err)
		if done.Changed() {
			select {
			case away <- struct{}{}:
			default:
			}
		}
	})
	if err != nil {
		return c.failed(err)
	}
	return exitDone
}

// answerProbes answers readiness probes, if that was asked for, until end is called.
func (c *command) answerProbes(check func() error) (end func(), err error) {
	if !c.readyAddress.IsValid() {
		return func() {}, nil
	}
	end, err = ready.Answer(c.readyAddress, check)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.line.flags.Given("ready-address"), err)
	}
	return end, nil
}

// watchUninstall uninstalls, and stays until no pod needs the program, or until it is told to
// end. Whoever asks whether everything is gone can ask until then.
func (c *command) watchUninstall(ctx context.Context, node *install.Node) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	end, err := c.answerProbes(node.CheckUninstalled)
	if err != nil {
		return c.failed(err)
	}
	defer end()
	node.WatchUninstall(ctx, func(done install.Done, err error) { c.tellUninstalled(node, done, err) })
	if c.readyAddress.IsValid() {
		<-ctx.Done()
	}
	return exitDone
}

// tellUninstalled logs what was done while watching, and what is waited for.
func (c *command) tellUninstalled(node *install.Node, done install.Done, err error) {
	for _, file := range done.Networks {
		c.log.Info("removed from " + file)
	}
	switch {
	case err != nil:
		c.log.Warn("not removed: " + err.Error())
	case done.Unknown != nil:
		c.log.Warn(unknownPods(node, done).Error())
	case done.Pods > 0:
		c.log.Info(fmt.Sprintf("%s stays until the pods that need it have ended: %d", node.Program(), done.Pods))
	case done.Kept:
		c.log.Info(node.Program() + " stays for a moment: pods may be starting")
	case done.Program != "":
		c.log.Info("removed " + done.Program)
	default:
		c.log.Info(nothingToRemove)
	}
}

// unknownPods returns an error about a program that stays because nobody knows who needs it.
func unknownPods(node *install.Node, done install.Done) error {
	return fmt.Errorf("%s stays, because nobody can tell which pods need it to end: %w\n"+
		hintPrefix+"name the folder with --cni-cache, remove an entry whose pod is gone, or remove the program with --force", node.Program(), done.Unknown)
}

// tell logs what was done while watching.
func (c *command) tell(done install.Done, err error) {
	if done.Program != "" {
		c.log.Info("copied to " + done.Program)
	}
	for _, file := range done.Networks {
		c.log.Info("added to " + file)
	}
	for _, file := range done.Removed {
		c.log.Info("removed from " + file)
	}
	if done.Unread != "" {
		c.log.Info("the drop-in is not enough yet, so there is an entry too: " + done.Unread)
	}
	if err != nil {
		c.log.Warn("not in place: " + err.Error())
	}
}

func (c *command) printInstalled(done install.Done, err error) int {
	if err != nil {
		return c.failed(err)
	}
	answer := newInstallation(done, "installed", "unchanged")
	answer.Removed, answer.Entry = done.Removed, done.Unread
	return c.print(answer)
}

func (c *command) printUninstalled(node *install.Node, done install.Done, err error) int {
	if err != nil {
		return c.failed(err)
	}
	if done.Unknown != nil {
		switch {
		case !done.Kept:
			c.log.Warn("nobody can tell which other pods need the program to end: " + done.Unknown.Error())
		case done.Pods > 0:
			c.log.Warn(unknownPods(node, done).Error())
		default:
			return c.failed(fmt.Errorf("the plugin is in no network any more, but %w", unknownPods(node, done)))
		}
	}
	answer := newInstallation(done, "uninstalled", nothingToRemove)
	answer.Pods = done.Pods
	if done.Kept {
		answer.Result = programKept
	}
	return c.print(answer)
}

// Results of cni uninstall.
const (
	nothingToRemove = "nothing to remove"
	programKept     = "program kept"
)

func newInstallation(done install.Done, changed, unchanged string) installation {
	answer := installation{Result: unchanged, Program: done.Program, Networks: done.Networks}
	if done.Changed() {
		answer.Result = changed
	}
	return answer
}

// installation is the answer of cni.
type installation struct {
	// Result is "installed", "unchanged", "uninstalled", "program kept" or "nothing to remove".
	Result string `json:"result"`
	// Program is the file that was copied or removed.
	Program string `json:"program,omitempty"`
	// Networks are the files that were changed.
	Networks []string `json:"networks,omitempty"`
	// Removed are those that the plugin was taken out of because it is in another now.
	Removed []string `json:"removed,omitempty"`
	// Entry says why there is an entry beside a drop-in.
	Entry string `json:"entry,omitempty"`
	// Pods is how many pods need the program to end.
	Pods int `json:"pods,omitempty"`
}

func (i installation) text(w io.Writer) {
	fmt.Fprintln(w, i.Result)
	if i.Program != "" {
		fmt.Fprintf(w, "  program  %s\n", i.Program)
	}
	for _, file := range i.Networks {
		fmt.Fprintf(w, "  network  %s\n", file)
	}
	for _, file := range i.Removed {
		fmt.Fprintf(w, "  not in   %s\n", file)
	}
	if i.Entry != "" {
		fmt.Fprintf(w, "  entry    is there beside the drop-in: %s\n", i.Entry)
	}
	switch {
	case i.Pods > 0 && i.Result == programKept:
		fmt.Fprintf(w, "  pods     %d must be deleted before the program can go; then run this again\n", i.Pods)
	case i.Pods > 0:
		fmt.Fprintf(w, "  pods     %d will miss the program when they are deleted\n", i.Pods)
	}
}
