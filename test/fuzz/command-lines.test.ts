import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { RunError } from '../../src/core/errors.ts'
import { fuzzTimeout, runs } from '../support/soak.ts'
import { anyCommandLine, commandFlags } from './command-lines.ts'
import { faultOf, outcomeOfCommand } from './outcome.ts'

const before = process.cwd()
let folder: string
beforeAll(async () => {
  // Commands write where they run, so they run in a temporary folder.
  folder = mkdtempSync(join(tmpdir(), 'choir-fuzz-'))
  process.chdir(folder)
  writeFileSync('file.txt', 'some text')
  writeFileSync('wild.yaml', 'model: &m [*m]')
  await mkdir('folder')
})
afterAll(() => {
  process.chdir(before)
  rmSync(folder, { recursive: true, force: true })
})

/** Replaces measurements and trainings, which would take longer than everything else. */
const unmeasured = async () => {
  throw new RunError('nothing is measured here')
}

test(
  'any command line ends with an exit code of choir and a message for people',
  async () => {
    const lines = anyCommandLine(await commandFlags())
    await fc.assert(
      fc.asyncProperty(lines, async (args) => {
        const operations = {
          train: unmeasured,
          simulate: unmeasured,
          planLocal: unmeasured,
          validatePlanner: unmeasured,
        }
        expect(faultOf(await outcomeOfCommand(args, operations))).toBeNull()
      }),
      runs(300),
    )
  },
  fuzzTimeout,
)
