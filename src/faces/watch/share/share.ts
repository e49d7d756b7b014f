/**
 * `choir watch --share`: one file with the life of the experts of a run, which opens anywhere, without a server. The
 * run is only read.
 */
import { stat } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import { option, RunError, UsageError, wording } from '../../../core/errors.ts'
import { escapeXml, sanitize } from '../../../core/text/escape.ts'
import { expectWritable, writeOutput } from '../../../node/system/output-file.ts'
import type { OnMessage } from '../../../train/run/messages.ts'
import { builtPage, readPage } from '../http/site.ts'
import { realDataPath } from '../runs/confined.ts'
import { readOnlyRun } from '../runs/open.ts'
import { TraceProcesses } from '../tracing/processes.ts'
import { describeRun } from './describe-run.ts'
import { sentenceOf } from './sentence.ts'
import type { SharedRun } from './shared-run.ts'

export interface ShareOptions {
  /** The file; default: the name of the run with `.html`, in the current folder. */
  readonly out?: string
  /** Files and folders with texts that the run was trained on. */
  readonly data?: readonly string[]
  readonly signal?: AbortSignal
  readonly onMessage?: OnMessage
}

export interface SharedPage {
  readonly file: string
  readonly bytes: number
  readonly run: SharedRun
}

/**
 * Writes the page of a run.
 * @throws UsageError if there is no such run, it has no loads of experts, or the file exists or is a folder
 * @throws RunError if the file cannot be written, or the page is not built
 */
export async function shareRun(directory: string, options: ShareOptions = {}): Promise<SharedPage> {
  const { data = [], signal = new AbortController().signal, onMessage = () => {} } = options
  const run = await readOnlyRun(directory, signal)
  const described = describeRun(run)
  const file = options.out ?? `${basename(resolve(directory))}.html`
  await expectNew(file)
  const page = (await readPage(builtPage('share'))).get('/')
  if (!page) throw new RunError('internal: the shared page has no document')
  const readable = await Promise.all([directory, ...data].map(realDataPath))
  const processes = new TraceProcesses(readable)
  try {
    const sentence = await sentenceOf(run.directory, run.summary(), processes, { signal, onMessage })
    const shared: SharedRun = { ...described, sentence }
    const html = pageWith(Buffer.from(page.bytes).toString(), shared)
    await writeOutput(file, html)
    return { file, bytes: Buffer.byteLength(html), run: shared }
  } finally {
    await processes.close()
  }
}

/** @throws UsageError if there is a file or folder of this name; RunError if none can be written there */
async function expectNew(file: string): Promise<void> {
  await expectWritable('out', file)
  const existing = await stat(file).catch(() => null)
  if (existing?.isFile())
    throw new UsageError(
      wording`invalid ${option('out')}: "${file}" exists (expected a new file; delete it, or name another)`,
    )
}

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
