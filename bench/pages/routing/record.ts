/**
 * The routing of the shown runs, recorded: what `choir watch RUN --share` reads out of a run, with the experts of a
 * text at its end. The front page and the article of the site draw it, and the figure of docs/routing.md is drawn from it.
 */
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import type { SharedRun } from '../../../src/faces/watch/share/shared-run.ts'
import { fileIn, readJson } from '../../support/results.ts'
import type { ShownRun } from '../../support/shown-runs.ts'

export interface RecordedRun extends Omit<SharedRun, 'sentence'> {
  /** The beginning of a held-out text, as the trained model routes them without a limit of capacity. */
  readonly text: {
    readonly tokens: readonly string[]
    /** Experts of each router, of shape [routers][tokens × choices]. */
    readonly experts: readonly (readonly number[])[]
    readonly choices: number
  }
}

export interface RoutingRecord {
  readonly command: string
  readonly runs: Readonly<Record<ShownRun, RecordedRun>>
}

export const recordFile = fileIn('docs/results/routing.json')

/** Reads a run through the page that the command shares. @param page Where the page is written */
export async function recordRun(folder: string, page: string): Promise<RecordedRun> {
  await promisify(execFile)(process.execPath, [fileIn('bin/choir.js'), 'watch', folder, '--share', '--out', page])
  const html = await readFile(page, 'utf8')
  const data = /<script type="application\/json" id="run">(.*?)<\/script>/s.exec(html)?.[1] ?? 'null'
  const { sentence, ...run } = JSON.parse(data) as SharedRun
  if ('reason' in sentence) throw new Error(`internal: no routed text: ${sentence.reason}`)
  const experts = sentence.traces.at(-1)?.experts ?? []
  return { ...run, text: { tokens: sentence.tokens, experts, choices: sentence.routers[0]?.choices ?? 1 } }
}

export async function routingRecord(): Promise<RoutingRecord> {
  const record = await readJson<RoutingRecord>(recordFile)
  if (!record) throw new Error('internal: docs/results/routing.json is missing')
  return record
}
