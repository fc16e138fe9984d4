"""Pages for benchmarks: built-in designs of every family, animated pages of every kind, and the policy's own pages."""

from itertools import chain, cycle, islice

from cluster.paths import resolve_path
from reward.designs import FAMILIES, draw

STYLE = (
    "body{margin:30px;background:hsl(HUE,45%,94%);font:18px sans-serif}"
    ".box{width:120px;height:60px;background:hsl(HUE,70%,45%)}"
)
LIVELY = {
    "css_animation": (
        ".box{animation:go 1.7s ease-in-out infinite alternate}"
        "@keyframes go{to{transform:translateX(400px) rotate(90deg)}}",
        "<h1>Moves HUE</h1><div class=box></div>",
    ),
    "transition": (
        ".box{transition:width 900ms,background 1.3s}.wide{width:500px;background:#222}",
        "<h1>Grows</h1><div class=box></div><script>setTimeout(()=>document.querySelector('.box')"
        ".classList.add('wide'),350)</script>",
    ),
    "canvas_frames": (
        "canvas{border:1px solid}",
        "<canvas width=600 height=300></canvas><script>const c=document.querySelector('canvas').getContext('2d');"
        "let n=0;function go(t){c.fillStyle=`hsl(${t/9%360},70%,50%)`;c.beginPath();"
        "c.arc(30+n%540,150+100*Math.sin(n/30),14,0,7);c.fill();n+=3;requestAnimationFrame(go)}requestAnimationFrame(go)</script>",
    ),
    "canvas_random": (
        "",
        "<canvas width=600 height=400></canvas><script>const c=document.querySelector('canvas').getContext('2d');"
        "for(let i=0;i<HUE+40;i++){c.fillStyle=`rgb(${Math.random()*255},${Math.random()*255},90)`;"
        "c.fillRect(Math.random()*580,Math.random()*380,20,20)}</script>",
    ),
    "timers": (
        "",
        "<h1 id=n>0</h1><ol id=l></ol><script>let n=0;setInterval(()=>{document.title=document.getElementById('n')"
        ".textContent=++n;if(n%20==0){const i=document.createElement('li');i.textContent=n;"
        "document.getElementById('l').append(i)}},10+HUE%7)</script>",
    ),
    "clock": (
        "",
        "<h1></h1><p></p><script>setInterval(()=>{document.querySelector('h1').textContent=new Date().toLocaleString();"
        "document.querySelector('p').textContent=performance.now().toFixed(1)+' '"
        "+crypto.randomUUID().length},100)</script>",
    ),
    "storage": (
        "",
        "<h1></h1><script>localStorage.n=(+localStorage.n||0)+1;sessionStorage.s='HUE';document.cookie='a=1';"
        "document.querySelector('h1').textContent=[localStorage.n,sessionStorage.s,document.cookie,history.length]"
        ".join(' / ')</script>",
    ),
    "svg_smil": (
        "",
        "<svg width=600 height=300><circle cx=60 cy=150 r=40 fill='hsl(HUE,80%,40%)'><animate attributeName=cx "
        "values='60;540;60' dur=2.3s repeatCount=indefinite /></circle></svg>",
    ),
    "gradients": (
        ".box{width:600px;height:300px;border-radius:40px;box-shadow:0 20px 60px #0008;"
        "background:conic-gradient(from HUEdeg,red,gold,teal,red);filter:blur(2px) saturate(1.4)}",
        "<div class=box></div><p style='backdrop-filter:blur(4px);columns:3'>" + "Words in columns. " * 40 + "</p>",
    ),
    "emoji_scripts": (
        "",
        "<h1>😀 🚀 ½ HUE</h1><p>漢字 かな 한글 العربية עברית ไทย Ελληνικά Ünïcödé</p><p>➜ ★ ☂ ♛ ∑ ∫ ≈</p>",
    ),
    "observers": (
        ".tall{height:300px}.seen{background:#ddf}",
        "<div id=a></div><script>for(let i=0;i<8;i++){const d=document.createElement('div');d.className='tall';"
        "d.textContent='Part '+i;document.body.append(d)}new IntersectionObserver(es=>es.forEach(e=>e.target.classList"
        ".toggle('seen',e.isIntersecting))).observe(document.querySelectorAll('.tall')[1]);new ResizeObserver(es=>"
        "document.getElementById('a').textContent=es[0].contentRect.width).observe(document.body);"
        "setTimeout(()=>scrollTo({top:HUE*2,behavior:'smooth'}),600)</script>",
    ),
    "modules_fetch": (
        "@font-face{font-family:gone;src:url(https://example.com/gone.woff2)}h1{font-family:gone,serif}",
        "<h1>Waits for no one</h1><img src=https://example.com/HUE.png alt='gone'><p id=p>…</p><script type=module>"
        "const t=performance.now();try{await fetch('/data.json')}catch(e){"
        "document.getElementById('p').textContent=e.name}"
        "await new Promise(r=>setTimeout(r,HUE*3));document.body.append('done')</script>",
    ),
    "form_focus": (
        "input{font-size:20px;caret-color:red}input:focus{outline:4px solid hsl(HUE,80%,50%)}",
        "<input autofocus value='typed HUE'><textarea>more</textarea><select><option>One</select><progress></progress>"
        "<input type=date><input type=range><input type=checkbox checked><meter value=.6></meter>",
    ),
    "web_animations": (
        "",
        "<div class=box></div><script>document.querySelector('.box').animate([{opacity:1},{opacity:.2,"
        "marginLeft:'300px'}],{duration:1500+HUE,iterations:Infinity,direction:'alternate'});queueMicrotask(()=>document.body.append('micro'))"
        "</script>",
    ),
}
"""Style and body; HUE varies the page. Each page depends on a random or timed browser feature."""


def lively(name: str, hue: int) -> str:
    """One page of `LIVELY`, with its hue filled in."""
    style, body = LIVELY[name]
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{name}</title><style>{STYLE}{style}</style>"
    return f"{head}{body}</html>".replace("HUE", str(hue))


def corpus(num: int, written: tuple[str, ...] = ()) -> list[str]:
    """`num` different pages: thirds of designs, of lively pages and of `written`; halves without `written`."""
    designs = (draw(seed, family=family).task.reference_html or "" for seed, family in enumerate(cycle(FAMILIES)))
    moving = (lively(name, 7 + turn % 353) for turn, name in enumerate(cycle(LIVELY)))
    share = num // 3 if written else 0
    sampled = list(islice(dict.fromkeys(written), share))
    half = (num - len(sampled) + 1) // 2
    kinds = (islice(designs, half), islice(moving, num - len(sampled) - half), sampled)
    return list(chain.from_iterable(kinds))


def sampled_pages(most: int = 200) -> tuple[str, ...]:
    """Pages from the newest runs on this machine, last step first; empty without runs."""
    import pyarrow.parquet as pq

    files = sorted(resolve_path("runs").glob("*/trajectories/*.parquet"), key=lambda path: path.stat().st_mtime)
    pages: dict[str, None] = {}
    while files and len(pages) < most:
        pages |= dict.fromkeys(filter(None, pq.read_table(files.pop(), columns=["html"])["html"].to_pylist()))
    return tuple(pages)[:most]
