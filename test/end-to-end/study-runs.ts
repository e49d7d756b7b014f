/** Small studies on the text of a workspace, for tests. */
import { writeFileSync } from 'node:fs'
import { afterAll, beforeAll } from 'vitest'
import type { RunRecord } from '../../src/tools/study/contract.ts'
import { readStored } from '../../src/tools/study/testing/stored.ts'
import { type ExitResult, type Line, Workspace } from './support.ts'

/** The timeout is long, since a study starts many processes. */
export const timeouts = { testTimeout: 120_000 }

interface Results {
  readonly records: readonly RunRecord[]
  readonly timings: readonly { readonly arm: string; readonly stepMs: number }[]
  readonly specialisations: readonly object[]
}

export const twoArms = { arms: { 'top-1': {}, 'top-2': { 'model.moe.k': 2 } } }

export const lines = ({ stdout }: ExitResult): Line[] =>
  stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))

/** The workspace of a test file, and studies in it. */
export function studyRuns() {
  let workspace: Workspace
  beforeAll(() => {
    workspace = new Workspace()
  })
  afterAll(() => workspace.remove())

  return {
    workspace: () => workspace,
    /** Writes a study of small runs on the text of the workspace. Returns its path. */
    studyFile(name: string, more: { readonly [field: string]: unknown; readonly set?: object }): string {
      const file = workspace.file(`${name}.json`)
      const set = { ...workspace.assignments(), 'train.steps': 12, ...more.set }
      writeFileSync(file, JSON.stringify({ base: 'tiny', seeds: [1, 2], ...more, set }))
      return file
    },
    study: (file: string, out: string, ...more: string[]): Promise<ExitResult> =>
      workspace.choir('study', file, '--out', workspace.file(out), '--jobs', '2', ...more),
    resultsIn: (out: string): Results => readStored(workspace.file(out)),
  }
}
