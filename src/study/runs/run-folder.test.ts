/** The run directory of a cell after its machine was lost. */
import { existsSync, readdirSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../../data/testing/temporary-folder.ts'
import { LOCK_FILE } from '../../system/lock.ts'
import { removeEarlier, runFolder } from './run-folder.ts'

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

test('a run that another machine has left locked continues in a copy with its checkpoints, each time in a new one', async () => {
  const root = temporary.make()
  const path = join(root, 'top-1-seed-2-abcdef01')
  await lockedRun(path, 'elsewhere')
  expect(await runFolder(path)).toBe(`${path}-2`)
  expect(await readFile(join(`${path}-2`, 'checkpoints', 'step-00000010', 'state'), 'utf8')).toBe('10')
  expect(readdirSync(`${path}-2`).sort()).toEqual(['checkpoints', 'metrics.jsonl'])
  // It is not locked, so it is continued.
  expect(await runFolder(path)).toBe(`${path}-2`)
  await writeFile(join(`${path}-2`, LOCK_FILE), JSON.stringify({ pid: 1, host: 'a third', id: 'y' }))
  expect(await runFolder(path)).toBe(`${path}-3`)
  await removeEarlier(path, `${path}-3`)
  expect(readdirSync(root)).toEqual(['top-1-seed-2-abcdef01-3'])
})

test('a run without checkpoints is copied too, and other runs are not mixed up with it', async () => {
  const root = temporary.make()
  const path = join(root, 'a')
  await lockedRun(path, 'elsewhere')
  await mkdir(join(root, 'a-9-seed-1'))
  expect(await runFolder(path)).toBe(`${path}-2`)
  expect(existsSync(join(root, 'a-9-seed-1'))).toBe(true)
})
