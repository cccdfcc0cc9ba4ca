package cni

import (
	"strings"
	"testing"
)

// The longest pattern that the namespace matches says who the proxy is, and annotations of the
// pod, if its mesh has one for that, come before it. Its group is as the policy has it.
func TestProxyUsers(t *testing.T) {
	t.Parallel()
	const all = `"proxyUsers": {"*": 1, "shop-*": [2, 3], "b*-x": 4, "a*-x": 5, "shop-cart": 6}`
	for name, test := range map[string]struct {
		keys, namespace string
		annotations     map[string]string
		want            string
	}{
		"any":                 {all, "bank", marked(), "--proxy-uid=1"},
		"a longer pattern":    {all, "shop-web", marked(), "--proxy-uid=2,3"},
		"a name":              {all, "shop-cart", marked(), "--proxy-uid=6"},
		"two of one length":   {`"proxyUsers": {"*shop": 7, "my-*": 8, "m*-s": 9}`, "my-shop", marked(), "--proxy-uid=7"},
		"by name":             {`"proxyUsers": {"my-s*": 8, "my-*p": 7}`, "my-shop", marked(), "--proxy-uid=7"},
		"no pattern":          {`"proxyUsers": {"shop": 7}`, "bank", marked(), "--proxy-uid=1337"},
		"no namespace":        {all, "", marked(), "--proxy-uid=1337"},
		"instead of options":  {`"options": {"proxy-uid": 9, "mode": "TPROXY"}, "proxyUsers": {"shop": 7}`, "shop", marked(), "--proxy-uid=7 --mode=TPROXY"},
		"options elsewhere":   {`"options": {"proxy-uid": 9}, "proxyUsers": {"shop": 7}`, "bank", marked(), "--proxy-uid=9"},
		"a group of its own":  {`"options": {"proxy-gid": 9}, "proxyUsers": {"shop": 7}`, "shop", marked(), "--proxy-uid=7 --proxy-gid=9"},
		"Linkerd":             {`"proxyUsers": {"shop": 7}`, "shop", injectedByLinkerd("skip-outbound-ports", ""), "--proxy-uid=7 --excluded-ports=4190,4191,4567,4568 --excluded-outbound-ports="},
		"Linkerd's own words": {`"proxyUsers": {"shop": 7}`, "shop", injectedByLinkerd("proxy-uid", "8", "skip-outbound-ports", ""), "--proxy-uid=8 --excluded-ports=4190,4191,4567,4568 --excluded-outbound-ports="},
	} {
		s, err := ReadSettings(testPolicies, entry(test.keys))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		policy, _, err := s.Decide(test.namespace, test.annotations)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		wanted, warnings, err := s.Read(policy, test.namespace, test.annotations)
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: %v, %q", name, err, warnings)
			continue
		}
		if got := strings.ReplaceAll(strings.Join(wanted.Arguments(), " "), " --excluded-ports=15020,15021,15090", ""); got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
}

// The rules of a pod have the users of its namespace.
func TestProxyUsersApplied(t *testing.T) {
	t.Parallel()
	p := newTestPod(t, "10.244.1.7/24")
	p.annotations, p.keys = marked(), `"proxyUsers": {"sh*": 1000650000}`
	if err := p.add(t); err != nil || !strings.Contains(p.rules(t), "skuid 1000650000") || strings.Contains(p.rules(t), "1337") {
		t.Errorf("%v\n%s", err, p.rules(t))
	}
	if err := p.functions().Check(p.arguments(t)); err != nil {
		t.Error(err)
	}
}

// A pod whose users OpenShift chooses does not start before somebody has said who its proxy is.
func TestSecurityContextConstraints(t *testing.T) {
	t.Parallel()
	p := newTestPod(t, "10.244.1.7/24")
	admitted := func(notes map[string]string) map[string]string {
		notes["openshift.io/scc"] = "restricted-v2"
		return notes
	}
	for name, test := range map[string]struct {
		keys        string
		annotations map[string]string
	}{
		"nothing":           {"", admitted(marked())},
		"another namespace": {`"proxyUsers": {"bank": 7}`, admitted(marked())},
		"only a group":      {`"options": {"proxy-gid": 7}`, admitted(marked())},
		"Linkerd":           {"", admitted(injectedByLinkerd())},
		"the other mesh's":  {`"options": {"proxy-uid": 7}`, admitted(injectedByLinkerd())},
	} {
		p.keys, p.annotations = test.keys, test.annotations
		object := objectOf(t, p.add(t))
		if object.Code != codeAnnotations || !strings.HasPrefix(object.Msg, `annotation openshift.io/scc "restricted-v2": `) || strings.Contains(object.Msg, "hint") ||
			object.Details != `set "proxyUsers": {"shop": USER} in the plugin's entry, or "proxy-uid" among its "options" if it is the same everywhere` {
			t.Errorf("%s: got %+v", name, object)
		}
		if p.rules(t) != "" {
			t.Errorf("%s: there are rules\n%s", name, p.rules(t))
		}
	}
	for name, test := range map[string]struct {
		keys        string
		annotations map[string]string
	}{
		"for its namespace":      {`"proxyUsers": {"shop": 7}`, admitted(marked())},
		"for all":                {`"options": {"proxy-uid": 7}`, admitted(marked())},
		"Linkerd, its namespace": {`"proxyUsers": {"shop": 7}`, admitted(injectedByLinkerd())},
		"Linkerd, annotation":    {"", admitted(injectedByLinkerd("proxy-uid", "7"))},
		"not in the mesh":        {"", admitted(map[string]string{})},
	} {
		p := newTestPod(t, "10.244.1.7/24")
		p.keys, p.annotations = test.keys, test.annotations
		if err := p.add(t); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestProxyUsersValue(t *testing.T) {
	t.Parallel()
	var users []ProxyUser
	v := ProxyUsers(&users)
	if err := v.Set("shop=7,shop=8,*=9"); err != nil || v.String() != "shop=7,shop=8,*=9" || users[2] != (ProxyUser{"*", 9}) {
		t.Errorf("got %v, %v", users, err)
	}
	for text, want := range map[string]string{
		"7":          `"7" has no pattern such as openshift-* before a =`,
		"=7":         `"=7" has no pattern`,
		"[=7":        `"[=7" has no pattern`,
		"shop=envoy": `"shop=envoy" is not a known user: users and groups must be numbers`,
		"shop=":      `"shop=" is not a known user`,
	} {
		if err := v.Set(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}
