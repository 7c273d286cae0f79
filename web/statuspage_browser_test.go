// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build browser

package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/browsertest"
	"github.com/zervigo/consul_cluster_exporter/status"
)

// serveStatus serves a page as the exporter does.
func serveStatus(t *testing.T, st status.View) (url string) {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/{$}", pageOf(t, st))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL + "/"
}

// contrast finds texts with too little contrast to their background: less than 4.5 to 1 (WCAG 2.2, 1.4.3).
const contrast = `(() => {
	const rgb = s => s.match(/[\d.]+/g).map(Number);
	const luminance = c => {
		const linear = v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
		const [r, g, b] = c.slice(0, 3).map(v => linear(v / 255));
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const behind = e => {
		for (; e; e = e.parentElement) {
			const c = rgb(getComputedStyle(e).backgroundColor);
			if (c.length < 4 || c[3] > 0) return c;
		}
		return [255, 255, 255];
	};
	const bad = new Set();
	let seen = 0;
	for (const e of document.body.querySelectorAll('*')) {
		if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
		seen++;
		const [a, b] = [luminance(rgb(getComputedStyle(e).color)), luminance(behind(e))].sort((x, y) => y - x);
		const ratio = (a + 0.05) / (b + 0.05);
		if (ratio < 4.5) bad.add(e.tagName + '.' + e.className + ' ' + ratio.toFixed(2));
	}
	return [String(seen), ...bad];
})()`

// The page can be read in the light, in the dark and on a phone, by eye and by a screen reader, and the browser has
// nothing to complain about, above all not of its policy.
func TestStatusPage_Readable(t *testing.T) {
	browser := browsertest.Start(t)
	url := serveStatus(t, brokenStatus())
	for name, view := range map[string]browsertest.View{
		"desk": browsertest.Desk, "night": browsertest.Night, "phone": browsertest.Phone,
	} {
		t.Run(name, func(t *testing.T) {
			page := browser.Open(t, url, view)
			page.Picture("page-critical-" + name)
			if got := page.Complaints(); len(got) > 0 {
				t.Errorf("the browser complains: %v", got)
			}
			style := browsertest.Eval[string](page, `getComputedStyle(document.querySelector('.problems')).listStyleType`)
			if style != "none" {
				t.Errorf("list style %q; the page's own style is not in force", style)
			}
			if got := browsertest.Eval[[]string](page, contrast); len(got) != 1 || len(got[0]) < 2 {
				t.Errorf("texts that were measured, and those that are hard to read: %v", got)
			}
			background := browsertest.Eval[string](page, `getComputedStyle(document.body).backgroundColor`)
			if dark := background != "rgb(255, 255, 255)"; dark != view.Dark {
				t.Errorf("background %s; dark wanted: %v", background, view.Dark)
			}
			for what, count := range map[string]string{
				"tables without a name":       `document.querySelectorAll('table:not([aria-labelledby])').length`,
				"heading cells with no scope": `document.querySelectorAll('th:not([scope])').length`,
				"cells with no text":          `[...document.querySelectorAll('td')].filter(e => !e.textContent.trim()).length`,
				"names that are nowhere": `[...document.querySelectorAll('[aria-labelledby], [aria-describedby]')].filter(e =>
					!document.getElementById(e.getAttribute('aria-labelledby') || e.getAttribute('aria-describedby'))).length`,
				"foreign scripts":      `document.scripts.length - 1`,
				"images":               `document.images.length`,
				"pixels out of window": `document.documentElement.scrollWidth - document.documentElement.clientWidth`,
			} {
				if n := browsertest.Eval[int](page, count); n > 0 {
					t.Errorf("%d %s", n, what)
				}
			}
			if n := browsertest.Eval[int](page, `document.querySelectorAll('h1').length`); n != 1 {
				t.Errorf("%d main headings; want 1", n)
			}
		})
	}
}

// A hundred servers are a long page, and one that is still quick to read: what hangs is on top.
func TestStatusPage_HundredServers(t *testing.T) {
	st := healthyStatus(100)
	st.Level = status.LevelDegraded
	st.Verdict = "90 of 100 voters answer, quorum is 51, server-2 leads; ten servers hang; 39 more may fail."
	for i := 9; i < 100; i += 10 {
		hang(&st.Servers[i])
		st.Problems = append(st.Problems, status.Problem{
			Severity: status.Critical, Alert: "ConsulServerHung", Text: st.Servers[i].Name + " hangs.",
		})
	}
	page := browsertest.Start(t).Open(t, serveStatus(t, st), browsertest.Desk)
	page.Picture("page-100-servers")
	if n := browsertest.Eval[int](page, `document.querySelectorAll('.matrix tbody tr').length`); n != 100 {
		t.Errorf("%d servers; want 100", n)
	}
	if n := browsertest.Eval[int](page, `document.querySelectorAll('.matrix td.bad').length`); n != 50 {
		t.Errorf("%d ports stand out; want 50", n)
	}
	const end = `document.querySelector('.problems li:last-child').getBoundingClientRect().bottom`
	if last := browsertest.Eval[float64](page, end); last > 900 {
		t.Errorf("the last problem ends at %v; want all of them in the window", last)
	}
}

// Names that are made to do harm do none.
func TestStatusPage_Attack(t *testing.T) {
	st := healthyStatus(3)
	poison(&st)
	page := browsertest.Start(t).Open(t, serveStatus(t, st), browsertest.Desk)
	page.Picture("page-attack")
	if got := page.Complaints(); len(got) > 0 {
		t.Errorf("the browser complains: %v", got)
	}
	if n := browsertest.Eval[int](page, `document.scripts.length - 1 + document.images.length`); n != 0 {
		t.Errorf("%d scripts and images were made of names", n)
	}
	if n := strings.Count(page.Text(), "<script>alert(1)</script>"); n < 10 {
		t.Errorf("the name can be read %d times; want everywhere", n)
	}
	// A name that turns the text around does so to itself alone.
	dir := browsertest.Eval[string](page, `getComputedStyle(document.querySelector('bdi')).unicodeBidi`)
	if dir != "isolate" {
		t.Errorf("names are not isolated: %s", dir)
	}
}
