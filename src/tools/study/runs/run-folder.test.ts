/** The run directory of a cell after its machine was lost, the start of a branch, and the removal of checkpoints. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../../../node/data/testing/temporary-folder.ts'
import { writeCheckpoint } from '../../../node/run/checkpoint/checkpoint.ts'
import { LOCK_FILE } from '../../../node/system/lock.ts'
import { branchOff, currentFolder, removeCheckpoints, removeEarlier, runFolder } from './run-folder.ts'

const temporary = temporaryFolder()

async function lockedRun(path: string, host: string): Promise<void> {
  await mkdir(join(path, 'checkpoints', 'step-00000010'), { recursive: true })
  await writeFile(join(path, 'checkpoints', 'step-00000010', 'state'), '10')
  await writeFile(join(path, 'metrics.jsonl'), '{}\n')
  await writeFile(join(path, LOCK_FILE), JSON.stringify({ pid: 1, host, id: 'x' }))
}

test('a run is started, and continued, in its own directory', async () => {
  const path = join(temporary.make(), 'top-1-seed-2-abcdef01')
  expect(await runFolder(path)).toBe(path)
  await lockedRun(path, hostname())
  expect(await runFolder(path)).toBe(path)
})

test('a run that another machine has left locked continues in a new copy, with its checkpoints', async () => {
  const root = temporary.make()
  const path = join(root, 'top-1-seed-2-abcdef01')
  await lockedRun(path, 'elsewhere')
  expect(await runFolder(path)).toBe(`${path}-2`)
  expect(await readFile(join(`${path}-2`, 'checkpoints', 'step-00000010', 'state'), 'utf8')).toBe('10')
  expect(readdirSync(`${path}-2`).sort()).toEqual(['checkpoints', 'metrics.jsonl'])
  // The copy is not locked, so it is continued.
  expect(await runFolder(path)).toBe(`${path}-2`)
  await writeFile(join(`${path}-2`, LOCK_FILE), JSON.stringify({ pid: 1, host: 'a third', id: 'y' }))
  expect(await runFolder(path)).toBe(`${path}-3`)
  await removeEarlier(path, `${path}-3`)
  expect(readdirSync(root)).toEqual(['top-1-seed-2-abcdef01-3'])
})

test('a run is not mixed up with another run whose name begins with its own name', async () => {
  const root = temporary.make()
  const path = join(root, 'a')
  await lockedRun(path, 'elsewhere')
  await mkdir(join(root, 'a-9-seed-1'))
  expect(await runFolder(path)).toBe(`${path}-2`)
  expect(existsSync(join(root, 'a-9-seed-1'))).toBe(true)
})

/** A run directory with intact checkpoints. */
async function trainedRun(path: string, ...steps: number[]): Promise<string> {
  await mkdir(path, { recursive: true })
  for (const step of steps)
    await writeCheckpoint(join(path, 'checkpoints'), step, { model: [], optimizer: [] }, { step }, { keep: 9 })
  await writeFile(join(path, 'metrics.jsonl'), '{"step":1}\n')
  await writeFile(join(path, LOCK_FILE), JSON.stringify({ pid: 1, host: 'elsewhere', id: 'x' }))
  return path
}

test('a branch begins as a copy of the shorter run, with only the checkpoint that it continues', async () => {
  const root = temporary.make()
  const directory = await trainedRun(join(root, 'short'), 8, 10)
  const to = join(root, 'long')
  expect(await branchOff({ directory, step: 8 }, to)).toBeNull()
  expect(readdirSync(to).sort()).toEqual(['checkpoints', 'metrics.jsonl'])
  expect(readFileSync(join(to, 'metrics.jsonl'), 'utf8')).toBe('{"step":1}\n')
  expect(readdirSync(join(to, 'checkpoints'))).toEqual(['step-00000008'])
  expect(readdirSync(join(directory, 'checkpoints')).sort()).toEqual(['step-00000008', 'step-00000010'])
})

test('if the checkpoint is gone or damaged, no directory is left, and the reason is returned', async () => {
  const root = temporary.make()
  const to = join(root, 'long')
  const gone = 'the checkpoint that it would continue is gone'
  expect(await branchOff({ directory: join(root, 'nowhere'), step: 8 }, to)).toBe(gone)
  const directory = await trainedRun(join(root, 'short'), 10)
  expect(await branchOff({ directory, step: 8 }, to)).toBe(gone)
  await writeFile(join(directory, 'checkpoints', 'step-00000010', 'state.json'), '{}')
  expect(await branchOff({ directory, step: 10 }, to)).toMatch(/checkpoint .*step-00000010 is damaged: /)
  expect(readdirSync(root)).toEqual(['short'])
})

test('all checkpoints of a run, or all but one, are removed; the current directory is the last copy', async () => {
  const root = temporary.make()
  const path = join(root, 'a')
  await trainedRun(path, 8, 10)
  await trainedRun(`${path}-2`, 8, 10)
  expect(await currentFolder(path)).toBe(`${path}-2`)
  await removeCheckpoints(path, 8)
  expect(readdirSync(join(path, 'checkpoints'))).toEqual(['step-00000008'])
  await removeCheckpoints(path)
  expect(readdirSync(path)).not.toContain('checkpoints')
  await removeCheckpoints(join(root, 'nowhere'), 8)
})
