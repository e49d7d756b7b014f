/** The style of the atlas, added to the style of a report. */

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
.routers table { margin-bottom: 14px }
@media (max-width: 900px) {
  .atlas { display: block }
  .panels { position: static; max-height: none; overflow: visible; margin-top: 28px }
  .panel .back { display: block }
}
@media print { .panel { display: block; break-inside: avoid } .start { display: none } .panels { position: static; max-height: none } }
`
