"""What Chromium is told at its start: none of it for speed, all of it for sameness and safety."""

FRAME_FLAGS = (
    "--deterministic-mode",
    "--enable-begin-frame-control",
    "--run-all-compositor-stages-before-draw",
    "--disable-new-content-rendering-timeout",
    "--disable-threaded-animation",
    "--disable-threaded-scrolling",
    "--disable-checker-imaging",
    "--disable-image-animation-resync",
    "--enable-surface-synchronization",
)
"""No frame is drawn but the ones we ask for, and each shows everything."""

LOOK_FLAGS = (
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--force-device-scale-factor=1",
    "--font-render-hinting=none",
    "--disable-lcd-text",
    "--disable-gpu",
    "--lang=en-US",
)
"""The same pixels on every machine that has the same fonts."""

WHOLE_FLAGS = ("--blink-settings=mainFrameClipsContent=false",)
"""A document is drawn beyond the screen too, for whoever looks there."""

QUIET_FLAGS = (
    "--headless",
    "--no-startup-window",
    "--no-first-run",
    "--mute-audio",
    "--no-pings",
    "--no-service-autorun",
    "--password-store=basic",
    "--use-mock-keychain",
    "--metrics-recording-only",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-breakpad",
    "--disable-client-side-phishing-detection",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-field-trial-config",
    "--disable-hang-monitor",
    "--disable-ipc-flooding-protection",
    "--disable-quic",
    "--disable-search-engine-choice-screen",
    "--disable-sync",
    "--disable-features=Translate,MediaRouter,OptimizationHints,LazyFrameLoading,LazyImageLoading",
)
"""Nothing happens that the page did not ask for."""

ISOLATION_FLAGS = ("--host-resolver-rules=MAP * ~NOTFOUND", "--js-flags=--max-old-space-size=512")
"""No host name resolves, addresses included; JavaScript's own heap is bounded (RLIMIT_DATA bounds the rest)."""
