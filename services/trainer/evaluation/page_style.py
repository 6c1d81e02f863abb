"""How the page looks: on paper, on a phone, on a light and on a dark screen."""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--ground:#fff;--card:#f6f7f9;--ink:#1b1f24;--soft:#5b6470;
--rule:#dfe3e8;--main:#2457d6;--other:#a9b2bf;--gain:#177245;--fall:#b3261e;--open:#7a5a00}
@media (prefers-color-scheme:dark){:root{--ground:#14171b;--card:#1d2127;--ink:#e8eaed;
--soft:#a3acb8;--rule:#333a43;--main:#8ab0ff;--other:#5d6774;--gain:#6fd19a;--fall:#ff8a80;
--open:#e6c15a}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:52rem;margin:0 auto;padding:1.25rem 1rem 4rem}
h1{font-size:1.6rem;line-height:1.25;margin:.5rem 0 1rem}
h2{font-size:1.15rem;margin:2.2rem 0 .6rem;padding-top:.8rem;border-top:1px solid var(--rule)}
h4{font-size:.8rem;margin:0 0 .25rem;color:var(--soft);font-weight:600}
h4 span{float:right;color:var(--ink);font-variant-numeric:tabular-nums}
p,ul{margin:.5rem 0}ul{padding-left:1.2rem}
.verdict{padding:.9rem 1rem;border-left:5px solid var(--open);background:var(--card);
border-radius:0 8px 8px 0}
.verdict strong{display:block;font-size:1.15rem;text-transform:capitalize;color:var(--open)}
.verdict.better{border-color:var(--gain)}.verdict.better strong{color:var(--gain)}
.verdict.worse{border-color:var(--fall)}.verdict.worse strong{color:var(--fall)}
.wide{overflow-x:auto;margin:.6rem 0}
table{border-collapse:collapse;font-size:.9rem;min-width:100%}
th,td{padding:.35rem .6rem;text-align:left;border-bottom:1px solid var(--rule);
font-variant-numeric:tabular-nums;vertical-align:top}
th{color:var(--soft);font-weight:600}
.facts td{overflow-wrap:anywhere}
.matrix td{text-align:center}
.matrix .right{background:color-mix(in srgb,var(--gain) calc(var(--share)*60%),transparent)}
.matrix .wrong{background:color-mix(in srgb,var(--fall) calc(var(--share)*60%),transparent)}
figure{margin:.8rem 0}
figcaption{font-size:.9rem;font-weight:600;margin-bottom:.4rem}
.chart{overflow-x:auto}
.chart svg{width:100%;min-width:32rem;height:auto;display:block}
svg text{fill:var(--ink);font-size:13px}
svg .tick{fill:var(--soft);font-size:12px}
svg .end{text-anchor:end}svg .middle{text-anchor:middle}svg .strong{font-weight:700}
svg .grid{stroke:var(--rule)}svg .zero{stroke:var(--soft);stroke-width:1.5}
svg .mark{stroke:var(--gain);stroke-width:1.5;stroke-dasharray:5 4}
svg .bar.main{fill:var(--main)}svg .bar.other{fill:var(--other)}
svg .halo{stroke:var(--ground);stroke-width:5;fill:none}
svg .whisker{stroke:var(--ink);stroke-width:1.5;fill:none}
svg .line{fill:none;stroke-width:2;stroke-linejoin:round}
svg .line.main{stroke:var(--main)}svg .line.other{stroke:var(--other)}
svg .dot.main{fill:var(--main)}svg .dot.gain{fill:var(--gain)}
svg .dot.fall{fill:var(--fall)}svg .dot.open{fill:var(--open)}
article{background:var(--card);border-radius:8px;padding:.8rem;margin:.7rem 0}
pre{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;
font:.85rem/1.45 ui-monospace,SFMono-Regular,Menlo,monospace}
.asked{margin-bottom:.6rem}
.sides{display:grid;grid-template-columns:repeat(3,1fr);gap:.8rem}
@media (max-width:40rem){.sides{grid-template-columns:1fr}}
@media print{h2,article,figure{break-inside:avoid}}
""".strip()
"""Style sheet of the page; colours have names, and a dark screen gives them other values."""
