"""How a page looks: one column of text, calm in light and dark, on a phone and on paper."""

from __future__ import annotations

PAGE = """
:root{--ink:#1f2328;--soft:#5c6470;--rule:#e3e5e8;--paper:#fff;--well:#f6f7f8;--link:#1f5fbf;
--good:#1a7f4b;--warn:#b4690e;--bad:#c0362c;--info:#1f5fbf}
@media screen and (prefers-color-scheme:dark){:root{--ink:#e3e6ea;--soft:#9aa3af;--rule:#2d333b;--paper:#14171b;
--well:#1c2026;--link:#84b4ff;--good:#54c78c;--warn:#e2a64b;--bad:#f2857c;--info:#84b4ff}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-padding-top:1rem}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.6 ui-sans-serif,system-ui,-apple-system,
"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;overflow-wrap:break-word}
main{max-width:45rem;margin:0 auto;padding:1.5rem 1.25rem 5rem}
h1,h2,h3{line-height:1.25;letter-spacing:-.012em;font-weight:650;text-wrap:balance;margin:0}
h1{font-size:1.85rem;margin:.2rem 0 1.1rem}
h2{font-size:1.28rem;margin:3rem 0 .75rem;padding-top:1rem;border-top:1px solid var(--rule)}
h3{font-size:1.04rem;margin:1.9rem 0 .5rem}
p{margin:0 0 1rem;text-wrap:pretty}
a{color:var(--link);text-decoration-thickness:1px;text-underline-offset:.18em}
strong{font-weight:650}
.lead{font-size:1.18rem;line-height:1.5}
.docs{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;margin-bottom:1.6rem;font-size:.86rem}
.docs a{color:var(--soft);text-decoration:none;padding:.15rem 0}
.docs a:hover,.toc a:hover{color:var(--link);text-decoration:underline}
.toc{display:none}
.note{padding:.1rem 0 .1rem 1rem;border-left:3px solid var(--info);margin:0 0 1.1rem}
.note.good{border-color:var(--good)}.note.warn{border-color:var(--warn)}.note.bad{border-color:var(--bad)}
.note.lead{padding:.35rem 0 .35rem 1.1rem;border-left-width:4px}
.hidden{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
dl{margin:0 0 1.2rem}
dl div{display:grid;grid-template-columns:9.5rem 1fr;gap:0 1.25rem;padding:.38rem 0;
border-bottom:1px solid var(--rule)}
dl div:last-child{border-bottom:0}
dt{color:var(--soft)}
dd{margin:0;font-variant-numeric:tabular-nums;min-width:0}
ul{margin:0 0 1rem;padding-left:1.15rem}
li{margin:.3rem 0}
li::marker{color:var(--soft)}
code{font:.875em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;
background:var(--well);padding:.1em .32em;border-radius:4px}
pre{background:var(--well);padding:.85rem 1rem;border-radius:6px;overflow-x:auto;margin:0 0 1.2rem}
pre code{background:none;padding:0;font-size:.84rem}
.scroll{overflow-x:auto;margin:0 0 1.4rem}
table{border-collapse:collapse;width:100%;font-size:.92rem;line-height:1.45;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--soft);font-size:.86rem;padding-bottom:.45rem}
th,td{text-align:left;vertical-align:top;padding:.42rem 1.1rem .42rem 0;border-bottom:1px solid var(--rule)}
th:last-child,td:last-child{padding-right:0}
thead th{font-weight:550;color:var(--soft);font-size:.84rem;vertical-align:bottom;white-space:nowrap}
tbody th{font-weight:inherit;overflow-wrap:anywhere}tbody th:not(.r){min-width:7.5rem}
tbody tr:last-child>*{border-bottom:0}
.r{text-align:right;white-space:nowrap}
figure{margin:1.4rem 0 1.8rem}
.picture{overflow-x:auto}
svg.chart{display:block;max-width:100%;height:auto}
figure .chart .paper{fill:none}
figcaption{color:var(--soft);font-size:.88rem;margin-top:.5rem;max-width:38rem}
details{border:1px solid var(--rule);border-radius:6px;margin:0 0 1rem;padding:0 1rem}
summary{cursor:pointer;padding:.6rem 0;font-weight:550}
details[open] summary{margin-bottom:.4rem}
:focus-visible{outline:2px solid var(--link);outline-offset:2px;border-radius:3px}
@media (min-width:75rem){.toc{display:block;position:fixed;top:5.2rem;left:calc(50% - 37rem);width:12rem;
max-height:calc(100vh - 7rem);overflow-y:auto;font-size:.84rem;line-height:1.35}
.toc a{display:block;color:var(--soft);text-decoration:none;padding:.28rem 0}}
@media (max-width:30rem){body{font-size:15.5px}main{padding:1.1rem .9rem 4rem}h1{font-size:1.5rem}
.lead{font-size:1.1rem}dl div{grid-template-columns:1fr}dt{font-size:.86rem}}
@media print{body{font-size:10.5pt}main{max-width:none;padding:0}.docs,.toc{display:none}
h2,h3{break-after:avoid}figure,tr,.note{break-inside:avoid}.scroll,.picture,pre{overflow:visible}pre{white-space:pre-wrap}
a{color:inherit}}
"""
"""Style sheet of every document; the charts bring their own, `modelyard.core.axes.STYLE`."""
