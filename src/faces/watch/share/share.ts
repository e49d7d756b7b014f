/**
 * `choir watch --share`: one file with the life of the experts of a run, which opens anywhere, without a server. The
 * run is only read.
 */
import { stat } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import { option, RunError, UsageError, wording } from '../../../core/errors.ts'
import { expectWritable, writeOutput } from '../../../node/system/output-file.ts'
import type { OnMessage } from '../../../train/run/messages.ts'
import { builtPage, readPage } from '../http/page.ts'
import { realDataPath } from '../runs/data-path.ts'
import { readOnlyRun } from '../runs/open.ts'
import { TraceProcesses } from '../tracing/processes.ts'
import { describeRun } from './describe-run.ts'
import { pageWith } from './page-with.ts'
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
