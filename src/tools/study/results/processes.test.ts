/**
 * Which processes are alive, and which may work together. A name stands for each machine.
 *
 * @slow
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { RunError } from '../../../core/errors.ts'
import { temporaryFolder } from '../../../node/data/testing/temporary-folder.ts'
import { inContainer } from '../../../node/system/testing/container.ts'
import { specificationSchema } from '../specification.ts'
import { SharedCells } from './cell-files.ts'
import { Ledger } from './ledger.ts'
import { EXPIRY_MS, factsOf, Processes, type StudyFacts } from './processes.ts'

const temporary = temporaryFolder()
const facts = factsOf(specificationSchema.parse({ arms: { a: {} }, seeds: [1, 2] }))

const joined: Processes[] = []
afterEach(async () => {
  for (const one of joined.splice(0)) await one.leave().catch(() => {})
})

async function joinAs(folder: string, machine: string, { mayJoin = true, of = facts } = {}): Promise<Processes> {
  const processes = await Processes.join(folder, of, mayJoin, { machine, host: `host-${machine}` })
  joined.push(processes)
  return processes
}

/** Makes the last sign of life of a process older. */
async function age(folder: string, { self }: Processes, milliseconds: number): Promise<void> {
  const time = (Date.now() - milliseconds) / 1000
  await utimes(join(folder, 'processes', `${self.number}.json`), time, time)
}

test('without --join a second process is refused by a message that names the first and --join', async () => {
  const folder = temporary.make()
  await joinAs(folder, 'a', { mayJoin: false })
  const second = joinAs(folder, 'a', { mayJoin: false })
  await expect(second).rejects.toThrow(RunError)
  await expect(second).rejects.toThrow(new RegExp(`in use by process ${process.pid}, .* with join this`))
  await expect(joinAs(folder, 'b', { mayJoin: false })).rejects.toThrow(/on host-a, .* last sign of life \d+ s ago/)
  await joinAs(folder, 'b')
  expect(readdirSync(join(folder, 'processes'))).toHaveLength(2)
})

test('of simultaneous starts without --join exactly one succeeds; with --join all get different numbers', async () => {
  for (const mayJoin of [false, true]) {
    const folder = temporary.make()
    const machines = Array.from({ length: 12 }, (_, i) => `machine-${i}`)
    const results = await Promise.allSettled(machines.map((machine) => joinAs(folder, machine, { mayJoin })))
    const numbers = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value.self.number] : []))
    expect(numbers).toHaveLength(mayJoin ? 12 : 1)
    expect(new Set(numbers).size).toBe(numbers.length)
    expect(readdirSync(join(folder, 'processes'))).toHaveLength(numbers.length)
  }
})

test('the last process to leave removes the folder', async () => {
  const folder = temporary.make()
  const [a, b] = [await joinAs(folder, 'a'), await joinAs(folder, 'b')]
  await a.leave()
  expect((await b.others()).length).toBe(0)
  await b.leave()
  expect(existsSync(join(folder, 'processes'))).toBe(false)
})

test.each<[string, Partial<StudyFacts>, RegExp]>([
  ['seeds', { specification: { ...facts.specification, seeds: [1, 2, 3] } }, /its specification differs in seeds\./],
  ['numerics', { numerics: 1 }, /version \d+ of the numerics, and this program with 1,/],
])('a process with other %s is refused, also with --join, and only while the first lives', async (_, more, message) => {
  const folder = temporary.make()
  const first = await joinAs(folder, 'a')
  const other = { ...facts, ...more }
  for (const mayJoin of [true, false])
    await expect(joinAs(folder, 'b', { mayJoin, of: other })).rejects.toMatchObject({
      name: 'UsageError',
      message: expect.stringMatching(message),
    })
  await age(folder, first, EXPIRY_MS + 1000)
  await joinAs(folder, 'b', { of: other })
})

test('a process that reads another text is refused', async () => {
  const folder = temporary.make()
  const [a, b, c] = [await joinAs(folder, 'a'), await joinAs(folder, 'b'), await joinAs(folder, 'c')]
  await a.declareTexts({ sotu: { own: '1' } })
  await b.declareTexts({ sotu: { own: '1' } })
  await expect(c.declareTexts({ sotu: { own: '2' } })).rejects.toThrow(/text of "sotu" is not the one that process/)
})

test('a process of another machine lives until its last sign of life has expired by the clock of the file server', async () => {
  const folder = temporary.make()
  const [a, b] = [await joinAs(folder, 'a'), await joinAs(folder, 'b')]
  // Clocks of machines differ: the clock of this machine is years behind.
  vi.spyOn(Date, 'now').mockReturnValue(0)
  expect(await a.isLive(b.self)).toBe(true)
  vi.restoreAllMocks()
  await age(folder, b, EXPIRY_MS - 5000)
  expect(await a.isLive(b.self)).toBe(true)
  await age(folder, b, EXPIRY_MS + 5000)
  expect(await a.isLive(b.self)).toBe(false)
  expect(await a.others()).toEqual([])
})

test('a process of this machine is checked by its id, however old its file', async () => {
  const folder = temporary.make()
  const [a, b] = [await joinAs(folder, 'a'), await joinAs(folder, 'a')]
  await age(folder, b, 10 * EXPIRY_MS)
  expect(await a.isLive(b.self)).toBe(true)
  expect(await a.isLive({ ...b.self, pid: 999_999_999 })).toBe(false)
  if (process.platform === 'linux') expect(await a.isLive({ ...b.self, start: 'another boot 1' })).toBe(false)
})

test.skipIf(!inContainer)(
  'a process in another container is checked by its sign of life: here another process, or none, may have its id',
  async () => {
    const folder = temporary.make()
    const module = (path: string) =>
      JSON.stringify(new URL(`../../../../dist/tools/study/${path}`, import.meta.url).href)
    const program = `
      import { specificationSchema } from ${module('specification.js')}
      import { factsOf, Processes } from ${module('results/processes.js')}
      const facts = factsOf(specificationSchema.parse({ arms: { a: {} }, seeds: [1, 2] }))
      const processes = await Processes.join(${JSON.stringify(folder)}, facts, true)
      const [other] = await processes.others()
      process.stdout.write(JSON.stringify([processes.self.pid, other?.pid]) + '\\n')
      setInterval(() => {}, 60_000)`
    const here = await Processes.join(folder, facts, true)
    joined.push(here)
    const [command = '', ...args] = inContainer as readonly string[]
    const child = spawn(command, [...args, process.execPath, '--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [line] = (await once(child.stdout, 'data')) as [Buffer]
    expect(JSON.parse(line.toString())).toEqual([1, process.pid])
    const [there] = await here.others()
    expect(there).toMatchObject({ pid: 1, host: here.self.host })
    child.kill('SIGKILL')
    await once(child, 'close')
    expect(await here.others()).toHaveLength(1)
    const time = (Date.now() - EXPIRY_MS - 1000) / 1000
    await utimes(join(folder, 'processes', `${there?.number}.json`), time, time)
    expect(await here.others()).toEqual([])
  },
)

test('after a time in which this process could not write either, no other process is taken for dead', async () => {
  const folder = temporary.make()
  const [a, b] = [await joinAs(folder, 'a'), await joinAs(folder, 'b')]
  for (const one of [a, b]) await age(folder, one, EXPIRY_MS + 5000)
  expect(await a.isLive(b.self)).toBe(true)
})

test('a process that was taken for dead neither replaces the results file nor writes results', async () => {
  const folder = temporary.make()
  const [a, b] = [await joinAs(folder, 'a'), await joinAs(folder, 'b')]
  const cells = new SharedCells(folder, b)
  const ledger = await Ledger.open(folder, cells, b)
  const claim = await cells.claim('x', () => true)
  await age(folder, b, EXPIRY_MS + 5000)
  // The process is suspended while it writes the results file.
  await writeFile(b.draft('results'), 'old')
  expect(await a.removeDead()).toBe(true)
  await writeFile(ledger.file, 'whole')
  expect(existsSync(b.draft('results'))).toBe(false)
  await expect(cells.claim('y', () => true)).rejects.toThrow(/taken this one for dead.*for 5 minutes/)
  if (!claim || !('finish' in claim)) throw new Error('not claimed')
  await expect(claim.finish({ machine: '' })).rejects.toThrow(/taken this one for dead/)
  await expect(ledger.describe({ name: 'late', matches: [] })).rejects.toThrow(/taken this one for dead/)
  expect(await readFile(ledger.file, 'utf8')).toBe('whole')
  await b.leave()
  expect((await a.others()).length).toBe(0)
})

test('files of dead processes are removed only when no other process is alive', async () => {
  const folder = temporary.make()
  const [a, b, c] = [await joinAs(folder, 'a'), await joinAs(folder, 'b'), await joinAs(folder, 'c')]
  await age(folder, b, EXPIRY_MS + 5000)
  expect(await a.removeDead()).toBe(false)
  expect(readdirSync(join(folder, 'processes')).sort()).toEqual(['1.json', '2.json', '3.json'])
  await c.leave()
  expect(await a.removeDead()).toBe(true)
  expect(readdirSync(join(folder, 'processes'))).toEqual(['1.json'])
  await rm(join(folder, 'processes'), { recursive: true })
})
