/** The style of a report's page: one column, in the colour scheme of the reader, and a style for print. */
import { widths } from '../figures/body.ts'
import { effectColours, figureStyle } from '../figures/style.ts'

export const pageStyle = `
:root {
  color-scheme: light dark;
  --back: #ffffff; --raised: #f6f8fa; --text: #1f2328; --quiet: #59636e; --line: #d1d9e0; --link: #0969da;
  --shade: #1f232833; --better: ${effectColours.light.better}; --worse: ${effectColours.light.worse};
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --back: #0d1117; --raised: #161b22; --text: #f0f6fc; --quiet: #9198a1; --line: #3d444d; --link: #58a6ff;
    --shade: #000000cc; --better: ${effectColours.dark.better}; --worse: ${effectColours.dark.worse};
  }
}
* { box-sizing: border-box }
html { -webkit-text-size-adjust: 100%; scroll-padding-top: 16px }
body {
  margin: 0 auto; padding: 32px 24px 80px; max-width: 908px; background: var(--back); color: var(--text);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; overflow-wrap: anywhere;
}
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 12px; text-wrap: balance }
h2 { font-size: 22px; line-height: 1.25; margin: 0 0 8px; text-wrap: balance }
a { color: var(--link) }
.headline { font-size: 18px; line-height: 1.4; font-weight: 600; margin: 0 0 14px; padding-left: 14px; border-left: 4px solid var(--quiet) }
.skip { position: absolute; left: -9999px }
.skip:focus { left: 8px; top: 8px; background: var(--back); padding: 8px }
.facts { list-style: none; padding: 0; margin: 0 0 12px; color: var(--quiet); font-size: 14.5px; line-height: 1.4 }
.facts li { margin: 4px 0 }
.made { color: var(--quiet); font-size: 13px; margin: 6px 0 0 }
.command {
  font: 12.5px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; color: var(--text);
  background: var(--raised); border: 1px solid var(--line); border-radius: 5px; padding: 1px 6px;
  user-select: all; cursor: copy; -webkit-box-decoration-break: clone; box-decoration-break: clone;
}
/* Do not break options at their dashes. */
.command span { display: inline-block; max-width: 100% }
nav { border-top: 1px solid var(--line); border-bottom: 1px solid var(--line); padding: 10px 0; margin: 36px 0 0; font-size: 14px }
nav h2 { display: inline; font-size: 14px; margin: 0 10px 0 0; color: var(--quiet) }
nav ol { display: inline; list-style: none; margin: 0; padding: 0 }
nav li { display: inline-block; margin: 2px 16px 2px 0 }
section { margin-top: 56px }
.about { color: var(--quiet); margin: 0 0 14px; max-width: 72ch }
.verdicts { border-left: 4px solid var(--quiet); background: var(--raised); border-radius: 0 8px 8px 0; padding: 12px 18px; margin: 16px 0 28px }
.verdicts ul { list-style: none; margin: 0; padding: 0 }
.verdicts li { font-size: 15px; line-height: 1.45; margin: 5px 0 }
/* The first is the answer; the others qualify it. */
.verdicts:not(.answers) > ul > li:first-child { font-size: 17px; font-weight: 600; margin-bottom: 10px }
.none { color: var(--quiet); font-style: italic; font-weight: 400; text-align: left }
figure { margin: 32px 0 36px }
figure svg { display: block; width: 100%; height: auto; max-width: ${widths.wide}px }
.narrow { display: none }
figcaption, caption { font-size: 14.5px; line-height: 1.45; text-align: left }
figcaption { margin-top: 10px }
.number { color: inherit; font-weight: 600; text-decoration: none }
.number:hover { text-decoration: underline }
.table { margin: 28px 0 36px }
/* A shadow at an edge with more content beyond it. */
.scroll {
  overflow-x: auto;
  background:
    linear-gradient(to right, var(--back) 40%, transparent) left / 40px 100%,
    linear-gradient(to left, var(--back) 40%, transparent) right / 40px 100%,
    linear-gradient(to right, var(--shade), transparent) left / 14px 100%,
    linear-gradient(to left, var(--shade), transparent) right / 14px 100%;
  background-repeat: no-repeat; background-attachment: local, local, scroll, scroll;
}
table { border-collapse: collapse; font-size: 14px; line-height: 1.4; font-variant-numeric: tabular-nums; max-width: 100% }
caption { caption-side: top; padding: 0 0 8px }
caption > span { display: block; position: sticky; left: 0; contain: inline-size; width: min(${widths.wide}px, calc(100vw - 32px)) }
th, td { padding: 5px 16px 5px 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; font-weight: 400 }
th:last-child, td:last-child { padding-right: 4px }
thead th { font-weight: 600; color: var(--quiet); border-bottom-width: 2px; vertical-align: bottom }
/* Row names may break anywhere, numbers and headings only if nothing else helps. */
thead th, td { overflow-wrap: break-word }
tbody th { min-width: 14ch }
th.right, td.right { text-align: right }
td.right { white-space: nowrap }
.note { display: block; color: var(--quiet); font-size: 12.5px; line-height: 1.35 }
.tone { font-weight: 600 }
.tone.better { color: var(--better) } .tone.worse { color: var(--worse) } .tone.open { color: var(--quiet); font-weight: 400 }
.strip { display: block; color: var(--quiet) }
.strip.better { color: var(--better) } .strip.worse { color: var(--worse) } .strip.strong { color: var(--text) }
.strip .break { stroke-width: 1.5 } .strip path { fill: none; stroke: currentColor; stroke-width: 2 }
.strip .base { stroke: var(--line); stroke-width: 1 } .strip .zero { stroke: var(--quiet); stroke-width: 1 }
.strip .dot { fill: currentColor } .strip.open .dot { fill: var(--back); stroke: currentColor; stroke-width: 2 }
/* The opening table has its caption below. */
.lead caption { caption-side: bottom; padding: 8px 0 0; font-size: 13px; color: var(--quiet) }
.lead th, .lead td { padding-top: 8px; padding-bottom: 8px }
.lead tbody th { font-weight: 600; min-width: 27ch } .lead tbody th .note { font-weight: 400 }
.lead td { white-space: nowrap } .lead td .note { white-space: normal }
#content > section:first-child { margin-top: 28px }
details { margin-top: 8px; font-size: 13px; color: var(--quiet) }
summary { cursor: pointer; width: max-content }
details table { font-size: 12.5px; margin-top: 6px; color: var(--text) }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px }
@media (max-width: 600px) {
  body { padding: 20px 16px 56px }
  h1 { font-size: 25px } h2 { font-size: 20px }
  .wide { display: none } .narrow { display: block }
  .verdicts { padding: 10px 14px }
  /* A row of the opening table becomes a card. */
  .lead, .lead tbody, .lead caption { display: block; width: 100% }
  .lead { display: flex; flex-direction: column } .lead caption { order: 2 } .lead thead { display: none }
  .lead tbody tr { display: grid; grid-template-columns: 1fr auto; gap: 2px 12px; padding: 10px 0; border-bottom: 1px solid var(--line) }
  .lead tbody th, .lead tbody td { border: 0; padding: 0; text-align: left }
  .lead tbody th { min-width: 0 }
  .lead td:nth-child(2), .lead td:nth-child(4), .lead td:nth-child(6) { text-align: right }
  .lead td:nth-child(n + 5), .lead td:nth-child(4) { font-size: 13px; color: var(--quiet) }
  .lead td:nth-child(4) { font-size: 15px; color: var(--text); font-weight: 600; align-self: center }
  .lead td:nth-child(5)::before, .lead td:nth-child(6)::before { content: attr(data-title) " " }
}
@media print {
  body { max-width: none; padding: 0; font-size: 11pt }
  .wide { display: block } .narrow, details, .skip { display: none }
  section { margin-top: 28pt }
  figure, tr, .verdicts { break-inside: avoid }
  h2, .about, caption { break-after: avoid }
  .scroll { overflow: visible; background: none }
  /* A wide table shrinks and breaks its lines: paper cannot be scrolled. */
  table { font-size: 8.5pt; width: 100% } .note { font-size: 7.5pt }
  th, td { padding-right: 8px }
  tbody th, .lead tbody th { min-width: 0 } .lead td { white-space: normal }
  caption > span { width: auto }
  a { color: inherit; text-decoration: none }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact }
}
${figureStyle}`
