/** The style of the atlas, added to the style of a report. */
import { colourAlong, inkOn } from '../../../core/charts/colour.ts'
import { diverging } from '../../../core/charts/palette.ts'

/** Number of colours of a load; the middle one is the mean. */
export const COLOURS = 33

const colours = Array.from({ length: COLOURS }, (_, step) => {
  const colour = colourAlong(diverging.light, step / (COLOURS - 1))
  return `.l${step} { background: ${colour}; color: ${inkOn(colour)} }`
})

export const atlasStyle = `
body { max-width: 1360px }
.atlas { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 30rem); gap: 0 40px; align-items: start }
.atlas section { margin-top: 28px }
.panels { position: sticky; top: 0; max-height: 100vh; overflow-y: auto; padding: 8px 4px 24px 0 }
.panel { display: none; scroll-margin-top: 0 }
.panel:target { display: block }
.start { display: block; color: var(--quiet); border: 1px solid var(--line); border-radius: 8px; padding: 16px }
.panel:target ~ .start { display: none }
.panel h2 { margin-top: 12px } .panel h3 { font-size: 15px; margin: 22px 0 6px }
.panel table { width: 100% } .panel .back { display: none; font-size: 14px }
.panel td, .panel tbody th { padding-top: 3px; padding-bottom: 3px }
.panel tbody th { min-width: 0 }
.token { font: 13px/1.3 ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; white-space: pre-wrap }
.space { color: var(--quiet) }
.cells { display: grid; grid-template-columns: max-content repeat(var(--experts), minmax(14px, 1fr)); gap: 2px; padding: 3px }
.cells > a, .cells > span { display: block; height: 24px; border-radius: 2px; text-decoration: none; text-align: center; line-height: 24px }
.cells > a:hover, .cells > a:focus-visible { outline: 2px solid var(--text); outline-offset: 0 }
/* A number may be wider than its column. */
.cells > .column { height: 16px; line-height: 16px; font-size: 11px; color: var(--quiet); overflow: visible; white-space: nowrap; min-width: 0; width: 0; margin: 0 auto; display: flex; justify-content: center }
.layer { color: var(--quiet); font-size: 12px; padding-right: 8px; font-variant-numeric: tabular-nums }
.dead { border: 1px dashed var(--quiet); color: var(--quiet) }
.key { font-size: 13px; color: var(--quiet); margin: 10px 0 0 }
.key span { display: inline-block; width: 30px; text-align: center; border-radius: 2px; margin: 0 2px }
.routers table { margin-bottom: 14px }
${colours.join('\n')}
@media (max-width: 900px) {
  .atlas { display: block }
  .panels { position: static; max-height: none; overflow: visible; margin-top: 28px }
  .panel .back { display: block }
  .cells { grid-template-columns: max-content repeat(var(--experts), minmax(26px, 1fr)) }
  .cells > a, .cells > span { height: 30px; line-height: 30px }
}
@media print { .panel { display: block; break-inside: avoid } .start { display: none } .panels { position: static; max-height: none } }
`
