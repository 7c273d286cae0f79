// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package browsertest opens pages in a real browser, Chromium, for tests. `make test-browser` installs it and runs
// the tests that need it, which have the build tag browser.
package browsertest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// pictureVar is the environment variable with the folder for pictures; without it none are taken.
const pictureVar = "PICTURES"

// checkerVar is the environment variable with the path of axe-core, which checks accessibility.
const checkerVar = "AXE"

// Browser is a running Chromium.
type Browser struct{ ctx context.Context }

// Start starts a browser that ends with the test.
func Start(tb testing.TB) *Browser {
	tb.Helper()
	if _, err := exec.LookPath("chromium"); err != nil {
		tb.Fatal("there is no chromium; run the tests with 'make test-browser', which installs it")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"),
		chromedp.NoSandbox, // Which root may not have.
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
	)
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	tb.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	tb.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		tb.Fatalf("start chromium: %v", err)
	}
	return &Browser{ctx}
}

// View is the window in which a page is shown.
type View struct {
	Width, Height int64
	Dark          bool
}

// Views of a desk and of a phone, in the light and in the dark.
var (
	Desk       = View{Width: 1280, Height: 900}
	Night      = View{Width: 1280, Height: 900, Dark: true}
	Phone      = View{Width: 390, Height: 844}
	PhoneNight = View{Width: 390, Height: 844, Dark: true}
)

// Page is an open page.
type Page struct {
	ctx context.Context
	tb  testing.TB

	mu sync.Mutex
	// complaints are errors of the console, scripts and policies, and dialogs. Guarded by mu.
	complaints []string
}

// Open opens a page in its own tab, which closes with the test.
func (b *Browser) Open(tb testing.TB, url string, view View) *Page {
	tb.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	tb.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, time.Minute)
	tb.Cleanup(cancel)
	p := &Page{ctx: ctx, tb: tb}
	scheme := "light"
	if view.Dark {
		scheme = "dark"
	}
	feature := &emulation.MediaFeature{Name: "prefers-color-scheme", Value: scheme}
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{feature}}
	do(p, command(log.Enable, cdp.Empty{}))
	do(p, command(emulation.SetEmulatedMedia, media))
	do(p, chromedp.EmulateViewport(view.Width, view.Height))
	if err := chromedp.Listen(ctx, p.listen); err != nil {
		tb.Fatalf("in the browser: %v", err)
	}
	do(p, chromedp.Navigate(url))
	return p
}

// command is an action that sends one command of the browser's protocol.
func command[P, R any](cmd cdp.Command[P, R], params P) chromedp.Action[R] {
	return func(ctx context.Context, target *chromedp.Target) (R, error) {
		return cdp.Call(ctx, target, cmd, params)
	}
}

// listen records the errors and dialogs of a page.
func (p *Page) listen(event any) {
	var complaint string
	switch e := event.(type) {
	case *page.EventJavascriptDialogOpening:
		complaint = "dialog: " + e.Message
		go func() { // Until it is closed, the page stands still.
			_, _ = chromedp.Call(p.ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true})
		}()
	case *runtime.EventExceptionThrown:
		complaint = "exception: " + e.ExceptionDetails.Text
	case *log.EventEntryAdded:
		complaint = string(e.Entry.Level) + ": " + e.Entry.Text
	default:
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.complaints = append(p.complaints, complaint)
}

// do runs an action, and ends the test if it fails.
func do[T any](p *Page, action chromedp.Action[T]) T {
	p.tb.Helper()
	result, err := chromedp.Run(p.ctx, action)
	if err != nil {
		p.tb.Fatalf("in the browser: %v", err)
	}
	return result
}

// Complaints returns the errors, warnings and dialogs so far.
func (p *Page) Complaints() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string{}, p.complaints...)
}

// Text returns what can be read on the page.
func (p *Page) Text() string {
	p.tb.Helper()
	return Eval[string](p, `document.body.innerText`)
}

// Title returns the title of the window.
func (p *Page) Title() string {
	p.tb.Helper()
	return Eval[string](p, `document.title`)
}

// Eval evaluates a JavaScript expression in the page, as the browser's console does, and waits if it is a promise.
func Eval[T any](p *Page, expression string) T {
	p.tb.Helper()
	return do(p, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// Press presses keys, such as kb.Tab, one after the other.
func (p *Page) Press(keys string) {
	p.tb.Helper()
	do(p, chromedp.KeyEvent(keys))
}

// Picture saves a picture of the whole page if pictureVar is set.
func (p *Page) Picture(name string) {
	p.tb.Helper()
	dir := os.Getenv(pictureVar)
	if dir == "" {
		return
	}
	png := do(p, chromedp.FullScreenshot(100))
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		p.tb.Fatal(err)
	}
}
