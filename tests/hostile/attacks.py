"""Pages that attack the browser, the machine, the network or the next page, with their allowed outcomes.

PORT stands for the port of a local server that no page may reach.
"""

INK = "<!doctype html><body style='background:#cde'><div style='height:200px;background:#936'></div><h1>Attack</h1>"
HERE = "127.0.0.1:PORT"


def script(code: str) -> str:
    """A visible page that runs this script."""
    return f"{INK}<script>{code}</script>"


TIME = {
    "loop": ("timeout", script("while (true) {}")),
    "loop_later": ("timeout", script("setTimeout(() => { while (true) {} }, 700)")),
    "loop_in_frame": ("timeout", script("requestAnimationFrame(() => { while (true) {} })")),
    "loop_on_resize": ("timeout", script("new ResizeObserver(() => { while (true) {} }).observe(document.body)")),
    "microtasks": ("timeout", script("(function go() { Promise.resolve().then(go) })()")),
    "regex": ("timeout", script("/^(a+)+$/.test('a'.repeat(40) + '!')")),
    "sort": ("timeout", script("for (;;) Array.from({length: 1e5}, Math.random).sort()")),
    "recursion": ("exception", script("(function go() { go() })()")),
    "write_loop": ("timeout", script("for (;;) document.write('<p>x')")),
    "timers_that_breed": ("timeout", script("(function go() { setTimeout(go, 0); setTimeout(go, 0) })()")),
    "layout": (
        "timeout",
        script("for (;;) { document.body.style.width = Math.random() * 500 + 'px'; document.body.offsetHeight }"),
    ),
    "workers_that_spin": (
        "ok timeout",
        script("for (let i = 0; i < 8; i++) new Worker(URL.createObjectURL(new Blob(['for(;;);'])))"),
    ),
}
MEMORY = {
    "heap": ("crash timeout", script("const a = []; for (;;) a.push(new Array(1e5).fill({}))")),
    "strings": ("exception crash timeout", script("let s = 'x'.repeat(1 << 20); for (;;) s += s")),
    "buffers": ("exception crash timeout", script("const a = []; for (;;) a.push(new Uint8Array(1 << 28).fill(1))")),
    "nodes": (
        "crash timeout",
        script("for (;;) document.body.append(...Array.from({length: 1e4}, () => document.createElement('p')))"),
    ),
    "canvases": (
        "ok exception crash timeout",
        script(
            "for (let i = 0; i < 200; i++) { const c = document.createElement('canvas'); c.width = c.height = 8000;"
            "c.getContext('2d').fillRect(0, 0, 8000, 8000); document.body.append(c) }"
        ),
    ),
    "frames": (
        "ok timeout crash",
        script(
            "for (let i = 0; i < 150; i++) { const f = document.createElement('iframe'); f.srcdoc = '<p>x'; "
            "document.body.append(f) }"
        ),
    ),
    "laughing_svg": (
        "ok timeout crash",
        INK
        + "<svg width=300 height=200><g id=a><rect width=9 height=9 /></g>"
        + "".join(f"<g id={x}>{f'<use href=#{w} x=1 />' * 10}</g>" for w, x in zip("abcdef", "bcdefg", strict=True))
        + "</svg>",
    ),
    "big_source": ("too_large", INK + "<!-- -->" * 300_000),
    "many_words": ("too_large timeout", INK + "<p>words and words</p>" * 20_000),
}
SIZE = {
    "tall": ("too_large", INK + "<div style='height:2000000px'></div>"),
    "wide": ("too_large", INK + "<div style='width:2000000px;height:9px;background:red'></div>"),
    "tall_enough": ("ok", INK + "<div style='height:50000px'></div>"),
    "deep": ("ok timeout crash", INK + "<div>" * 20_000),
    "shadows": ("ok timeout", INK + "<p style='box-shadow:0 0 900px 900px red;filter:blur(300px)'>x</p>" * 60),
    "animations": (
        "ok timeout too_heavy",
        INK + "<style>i{animation:a 1s infinite}@keyframes a{to{opacity:.5;margin:9px}}</style>" + "<i>x</i>" * 3_000,
    ),
}
NOISE = {
    "alerts": ("timeout", script("while (true) alert(1)")),
    "prompts": ("timeout", script("for (;;) { confirm('sure?'); prompt('name?') }")),
    "print": ("ok", script("print(); document.body.append('printed')")),
    "console": ("ok", script("for (let i = 0; i < 2e5; i++) console.log('flood', i)")),
    "console_megabytes": ("ok", script("for (let i = 0; i < 100; i++) console.log('x'.repeat(1 << 20))")),
    "exceptions": (
        "exception ok",
        script("for (let i = 0; i < 3000; i++) setTimeout(() => { throw new Error(i) }, 1)"),
    ),
    "titles": ("ok", script("let i = 0; setInterval(() => { document.title = 'x'.repeat(9999) + i++ }, 1)")),
    "leaving_dialog": (
        "blocked_navigation",
        script("onbeforeunload = () => 'stay'; setTimeout(() => location = '/gone', 50)"),
    ),
}
AWAY = {
    "popups": ("ok", script("for (let i = 0; i < 50; i++) window.open('about:blank')")),
    "location": ("blocked_navigation", script(f"location = 'http://{HERE}/'")),
    "refresh": ("blocked_navigation", f"<meta http-equiv=refresh content='0;url=http://{HERE}/'>{INK}"),
    "reload": ("blocked_navigation timeout", script("setInterval(() => location.reload(), 1)")),
    "history": ("ok timeout", script("for (let i = 0; i < 5000; i++) history.pushState(i, '', '#' + i)")),
    "data_url": ("ok blocked_navigation", script("location = 'data:text/html,<h1>other</h1>'")),
    "blob_url": (
        "blocked_navigation",
        script("location = URL.createObjectURL(new Blob(['<h1>other'], {type: 'text/html'}))"),
    ),
    "script_url": ("ok blank blocked_navigation", script("location = 'javascript:\"<h1>other</h1>\"'")),
    "form": (
        "blocked_navigation",
        f"{INK}<form id=f method=post action='http://{HERE}/'><input name=a></form><script>f.submit()</script>",
    ),
    "form_elsewhere": (
        "ok",
        f"{INK}<form id=f target=_blank action='http://{HERE}/'><input name=a></form><script>f.submit()</script>",
    ),
    "download": (
        "ok",
        script(
            "const a = document.createElement('a'); a.download = 'x'; a.href = 'data:,x'; document.body.append(a); a.click()"
        ),
    ),
    "close": ("ok", script("window.close(); self.close()")),
    "fullscreen": (
        "ok",
        script("document.body.requestFullscreen().catch(() => {}); document.body.requestPointerLock()"),
    ),
    "permissions": (
        "ok",
        script(
            "navigator.geolocation?.getCurrentPosition(() => {}); Notification.requestPermission();"
            "navigator.mediaDevices?.getUserMedia({video: true}).catch(() => {})"
        ),
    ),
}
NETWORK = {
    "fetch": (
        "ok",
        script(f"fetch('http://{HERE}/').catch(() => {{}}); fetch('http://localhost:PORT/').catch(() => {{}})"),
    ),
    "beacon": (
        "ok",
        script(
            f"navigator.sendBeacon('http://{HERE}/', 'secret'); fetch('http://{HERE}/', {{keepalive: true}}).catch(() => {{}})"
        ),
    ),
    "pictures": (
        "ok",
        f"{INK}<img src='http://{HERE}/a.png'><style>body{{background-image:url(http://{HERE}/b.png)}}</style>",
    ),
    "hints": (
        "ok",
        f"<link rel=preconnect href='http://{HERE}'><link rel=dns-prefetch href='//example.com'>"
        f"<link rel=prefetch href='http://{HERE}/p'><link rel=preload as=script href='http://{HERE}/q.js'>{INK}",
    ),
    "imports": (
        "ok",
        f"<style>@import url(http://{HERE}/x.css);@font-face{{font-family:f;src:url(http://{HERE}/f)}}h1{{font-family:f}}</style>{INK}",
    ),
    "event_source": ("ok", script(f"new EventSource('http://{HERE}/')")),
    "web_socket": ("ok", script(f"new WebSocket('ws://{HERE}/')")),
    "worker_socket": (
        "ok",
        script(
            f"new Worker(URL.createObjectURL(new Blob([\"new WebSocket('ws://{HERE}/'); fetch('http://{HERE}/')\"])))"
        ),
    ),
    "web_rtc": (
        "ok exception",
        script(
            f"const p = new (window.RTCPeerConnection || webkitRTCPeerConnection)({{iceServers: [{{urls: 'stun:{HERE}'}}]}});"
            "p.createDataChannel('x'); p.createOffer().then(o => p.setLocalDescription(o))"
        ),
    ),
    "frame_web_rtc": (
        "ok",
        script(
            f"const f = document.createElement('iframe'); f.srcdoc = `<script>try {{ const p = new RTCPeerConnection({{iceServers:"
            f" [{{urls: 'stun:{HERE}'}}]}}); p.createDataChannel('x'); p.createOffer().then(o => p.setLocalDescription(o)) }} catch (e) {{}}<\\/script>`;"
            "document.body.append(f)"
        ),
    ),
    "files": (
        "ok",
        f"{INK}<iframe src='file:///etc/passwd'></iframe><img src='file:///etc/hostname'>"
        "<script>fetch('file:///etc/passwd').then(r => r.text()).then(t => document.title = t).catch(() => {})</script>",
    ),
    "service_worker": ("ok", script("navigator.serviceWorker?.register('/sw.js').catch(() => {})")),
}
NEXT_PAGE = {
    "storage": (
        "ok",
        script(
            "localStorage.mark = 'left'; sessionStorage.mark = 'left'; document.cookie = 'mark=left; max-age=9999';"
            "window.name = 'left'; indexedDB.open('left'); caches.open('left')"
        ),
    ),
    "shared_worker": (
        "ok",
        script("new SharedWorker(URL.createObjectURL(new Blob(['onconnect = () => {}'])), 'left')"),
    ),
    "channel": ("ok", script("const c = new BroadcastChannel('x'); setInterval(() => c.postMessage('left'), 1)")),
    "patches": (
        "ok exception",
        script(
            "for (const [o, n] of [[JSON, 'stringify'], [Array.prototype, 'map'], [String.prototype, 'trim'], [Math, 'round'],"
            "[Document.prototype, 'createTreeWalker'], [Element.prototype, 'getBoundingClientRect'], [window, 'getComputedStyle'],"
            "[Function.prototype, 'call'], [Map.prototype, 'get']]) o[n] = () => { throw 'patched' };"
        ),
    ),
    "clobbered": (
        "ok",
        INK + "<form name=body><input name=querySelector><img name=createTreeWalker></form><img name=documentElement>",
    ),
}
MEDIA = {
    "web_gl": (
        "ok timeout",
        script(
            "const g = document.body.appendChild(document.createElement('canvas')).getContext('webgl');"
            "(function go() { if (g) { g.clearColor(Math.random(), 0, 1, 1); g.clear(16384) } requestAnimationFrame(go) })()"
        ),
    ),
    "sound": (
        "ok",
        script("const a = new AudioContext(), o = a.createOscillator(); o.connect(a.destination); o.start()"),
    ),
    "video": (
        "ok",
        f"{INK}<video autoplay loop src='data:video/mp4;base64,AAAA'></video><audio autoplay src='http://{HERE}/a'></audio>",
    ),
}
ATTACKS = TIME | MEMORY | SIZE | NOISE | AWAY | NETWORK | NEXT_PAGE | MEDIA
"""Allowed outcomes (several, if the machine's speed decides which limit is reached first) and page, by name."""
