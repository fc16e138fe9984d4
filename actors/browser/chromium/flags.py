"""Chromium's command-line flags, for reproducible pixels and isolation, not for speed."""

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
"""Frames are drawn only on request, and completely."""

LOOK_FLAGS = (
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--force-device-scale-factor=1",
    "--font-render-hinting=none",
    "--disable-lcd-text",
    "--disable-gpu",
    "--lang=en-US",
)
"""Same pixels on every machine with the same fonts."""

WHOLE_FLAGS = ("--blink-settings=mainFrameClipsContent=false",)
"""Documents are drawn beyond the viewport, for full-page screenshots."""

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
"""Nothing runs that the page did not request."""

ISOLATION_FLAGS = ("--host-resolver-rules=MAP * ~NOTFOUND", "--js-flags=--max-old-space-size=512")
"""No host name or address resolves; JavaScript's heap is limited (RLIMIT_DATA limits the rest)."""
