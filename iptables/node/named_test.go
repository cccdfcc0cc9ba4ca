package node

import "testing"

func TestParseName(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		"shop/cart-7d9f": true, "shop/cart.v1": true, "cart": false, "shop/": false, "/cart": false, "shop/a/b": false,
		"Shop/cart": false, "shop/../x": false, "shop.x/cart": false,
	} {
		if err := ParseName(text); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}
