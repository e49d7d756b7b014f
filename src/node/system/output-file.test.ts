import { spawnSync } from 'node:child_process'
import { lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { RunError, UsageError } from '../../core/errors.ts'
import { temporaryFolder } from '../data/testing/temporary-folder.ts'
import { expectWritable, writeOutput } from './output-file.ts'

const temporary = temporaryFolder()

const refusal = (file: string): Promise<unknown> => expectWritable('out', file).catch((error: unknown) => error)

test('a file that can be written is neither created nor changed by the check, nor are its folders', async () => {
  const folder = temporary.make()
  writeFileSync(join(folder, 'old.json'), 'old')
  for (const file of ['old.json', 'new.json', join('a', 'b', 'new.json')])
    await expectWritable('out', join(folder, file))
  expect(readdirSync(folder)).toEqual(['old.json'])
  expect(readFileSync(join(folder, 'old.json'), 'utf8')).toBe('old')
})

test('a folder is wrong usage', async () => {
  const folder = temporary.make()
  for (const path of [folder, join(folder, 'new/')]) {
    const error = await refusal(path)
    expect(error).toBeInstanceOf(UsageError)
    expect(String(error)).toContain(`invalid out: "${path}" is a folder (expected a file)`)
  }
})

test('a place that cannot be written is refused with the reason', async () => {
  const folder = temporary.make()
  writeFileSync(join(folder, 'file'), '')
  const places = [join(folder, 'file', 'new.json'), ...(process.platform === 'linux' ? ['/proc/new.json'] : [])]
  for (const path of places) {
    const error = await refusal(path)
    expect(error).toBeInstanceOf(RunError)
    expect(String(error)).toMatch(/invalid out: cannot write ".*new\.json": E[A-Z]+: .*\(choose another file\)/)
  }
  expect(readdirSync(folder)).toEqual(['file'])
})

test('a link keeps its place, and its target is replaced', async () => {
  const folder = temporary.make()
  mkdirSync(join(folder, 'elsewhere'))
  writeFileSync(join(folder, 'elsewhere', 'real.json'), 'old')
  symlinkSync(join(folder, 'elsewhere', 'real.json'), join(folder, 'link.json'))
  await writeOutput(join(folder, 'link.json'), 'new')
  expect(lstatSync(join(folder, 'link.json')).isSymbolicLink()).toBe(true)
  expect(readFileSync(join(folder, 'elsewhere', 'real.json'), 'utf8')).toBe('new')
  await writeOutput(join(folder, 'made', 'new.json'), 'new')
  expect(readFileSync(join(folder, 'made', 'new.json'), 'utf8')).toBe('new')
})

test.skipIf(process.platform === 'win32')(
  'a pipe is written to, not replaced, and the check does not wait for its reader',
  async () => {
    const pipe = join(temporary.make(), 'pipe')
    spawnSync('mkfifo', [pipe])
    await expectWritable('out', pipe)
    const reading = readFile(pipe, 'utf8')
    await writeOutput(pipe, 'contents')
    expect(await reading).toBe('contents')
    expect(lstatSync(pipe).isFIFO()).toBe(true)
  },
)
