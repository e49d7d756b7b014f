/** Puts the data of a run into the page that `npm run build` made of web/share. */
import { RunError } from '../../../core/errors.ts'
import { escapeXml, sanitize } from '../../../core/text/escape.ts'
import type { SharedRun } from './shared-run.ts'

/** Places for the data and for the title in web/share/index.html. */
const DATA = '<script type="application/json" id="run">null</script>'
const TITLE = '<title>Choir</title>'

/** @throws RunError if the page lacks a place, because another version of it was built */
export function pageWith(page: string, run: SharedRun): string {
  for (const place of [DATA, TITLE])
    if (page.split(place).length !== 2) throw new RunError(`the shared page lacks ${place} (run: npm run build)`)
  const title = escapeXml(sanitize(run.name))
  // Functions, because a replacement text would interpret its dollar signs.
  return page
    .replace(TITLE, () => `<title>${title}, the life of its experts</title>`)
    .replace(DATA, () => DATA.replace('null', () => jsonInHtml(run)))
}

/**
 * JSON that ends no element and no line of a script: `<` would begin `</script>` or `<!--`, and U+2028 and U+2029 are
 * line ends in old scripts.
 */
export const jsonInHtml = (value: unknown): string =>
  JSON.stringify(value).replace(
    /[<\u2028\u2029]/g,
    (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
