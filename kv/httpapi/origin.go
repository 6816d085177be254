package httpapi

import (
	"fmt"
	"net/http"

	"github.com/themilchenko/raftlab/kv/api"
)

// checkOrigin refuses what a web page has a browser do, if it could change anything. A
// node serves no pages, so whichever page it is, it is a stranger's, also where the
// name it was loaded from has become the node's address since. Browsers say Origin with
// all but GET and HEAD, and no page can keep them from it; other clients do not.
func checkOrigin(r *http.Request) error {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	site := r.Header.Get("Sec-Fetch-Site")
	if len(r.Header["Origin"]) > 0 || site != "" && site != "none" {
		return &problem{
			status: http.StatusForbidden,
			code:   api.CodeForbidden,
			message: fmt.Sprintf("a web page (Origin %.100q) cannot change anything here: use clusterctl, curl or a program",
				r.Header.Get("Origin")),
		}
	}
	return nil
}
