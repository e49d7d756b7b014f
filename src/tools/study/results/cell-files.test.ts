/** Claims of cells and their results. A name stands for each machine. */
import { existsSync, readdirSync } from 'node:fs'
import { rm, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { randomFor } from '../../../core/random.ts'
import { temporaryFolder } from '../../../node/data/testing/temporary-folder.ts'
import { specificationSchema } from '../specification.ts'
import { CellFiles, type CellResult, Claim, SharedCells } from './cell-files.ts'
import { EXPIRY_MS, factsOf, Processes } from './processes.ts'

const temporary = temporaryFolder()
const facts = factsOf(specificationSchema.parse({ arms: { a: {} } }))

interface Member {
  readonly processes: Processes
  readonly cells: SharedCells
}

const joined: Processes[] = []
afterEach(async () => {
  for (const one of joined.splice(0)) await one.leave().catch(() => {})
})

async function member(folder: string, machine: string): Promise<Member> {
  const processes = await Processes.join(folder, facts, true, { machine, host: `host-${machine}` })
  joined.push(processes)
  return { processes, cells: new SharedCells(folder, processes) }
}

const fileOf = (folder: string, { self }: Processes) => join(folder, 'processes', `${self.number}.json`)

async function expire(folder: string, processes: Processes): Promise<void> {
  const time = (Date.now() - EXPIRY_MS - 5000) / 1000
  await utimes(fileOf(folder, processes), time, time)
}

/** A result that names the machine that computed it. */
const by = (machine: string): CellResult => ({ machine })

async function claimed({ cells }: Member, key = 'x'): Promise<Claim> {
  const claim = await cells.claim(key, () => true)
  if (!(claim instanceof Claim)) throw new Error(`not claimed: ${JSON.stringify(claim)}`)
  return claim
}

test('a claim holds until its holder releases it, or gives no sign of life', async () => {
  const folder = temporary.make()
  const [a, b] = [await member(folder, 'a'), await member(folder, 'b')]
  const first = await claimed(a)
  expect(await b.cells.claim('x', () => true)).toMatchObject({ host: 'host-a', id: a.processes.self.id })
  await first.release()
  await claimed(b)
  expect(await a.cells.claim('x', () => true)).toMatchObject({ host: 'host-b' })
  await expire(folder, b.processes)
  await claimed(a)
})

test('a process that ends releases its claims', async () => {
  const folder = temporary.make()
  const [a, b] = [await member(folder, 'a'), await member(folder, 'b')]
  for (const key of ['x', 'y']) await claimed(a, key)
  await a.cells.releaseAll()
  for (const key of ['x', 'y']) await claimed(b, key)
})

test('a cell that was done meanwhile is not claimed, and its result is passed on', async () => {
  const folder = temporary.make()
  const [a, b] = [await member(folder, 'a'), await member(folder, 'b')]
  await (await claimed(a)).finish(by('a'))
  const seen: CellResult[] = []
  const claim = await b.cells.claim('x', (news) => {
    seen.push(...news)
    return seen.length === 0
  })
  expect([claim, seen]).toEqual([null, [by('a')]])
  expect(await b.cells.news()).toEqual([])
})

test('a result that comes after its cell was taken over is kept beside the other result', async () => {
  const folder = temporary.make()
  const [a, b] = [await member(folder, 'a'), await member(folder, 'b')]
  const late = await claimed(a)
  await expire(folder, a.processes)
  await (await claimed(b)).finish(by('b'))
  await late.finish(by('a'))
  expect(await new CellFiles(folder).news()).toEqual([by('a'), by('b')])
})

test('a result can be read while its claim is held', async () => {
  const folder = temporary.make()
  const [a, b] = [await member(folder, 'a'), await member(folder, 'b')]
  const claim = await claimed(a)
  await claim.keep(by('a'))
  expect(await b.cells.news()).toEqual([by('a')])
  expect(await b.cells.claim('x', () => true)).toMatchObject({ host: 'host-a' })
  await claim.release()
  expect(await b.cells.news()).toEqual([])
  expect(await new CellFiles(folder).news()).toEqual([by('a')])
})

test('files that were read can be removed, and the files of a process that has just joined stay', async () => {
  const folder = temporary.make()
  const a = await member(folder, 'a')
  await (await claimed(a)).finish(by('a'))
  const { names } = a.cells
  const b = await member(folder, 'b')
  await claimed(b, 'y')
  await a.cells.remove(names)
  expect(readdirSync(join(folder, 'cells'))).toEqual(['y.1.json'])
  await a.cells.remove(['y.1.json'])
  expect(existsSync(join(folder, 'cells'))).toBe(false)
})

test('under random claims, releases, results and deaths a cell has one living holder, and no result is lost', async () => {
  const seed = process.env.CHOIR_TEST_SEED ?? String(Date.now())
  const random = randomFor(Number(seed), 'claims')
  const folder = temporary.make()
  const keys = ['x', 'y', 'z']
  const holders = new Map<string, string>()
  const results: string[] = []
  let machines = 0
  const act = async () => {
    let self = await member(folder, `m${machines++}`)
    const open = new Map<string, Claim>()
    for (let round = 0; round < 25; round++) {
      const key = keys[random.integer(keys.length)] ?? ''
      const { id } = self.processes.self
      const held = open.get(key)
      const choice = random.uniform()
      if (choice < 0.1) {
        // The process dies with all claims that it holds.
        for (const [name, holder] of holders) if (holder === id) holders.delete(name)
        open.clear()
        await rm(fileOf(folder, self.processes))
        self = await member(folder, `m${machines++}`)
      } else if (!held) {
        const claim = await self.cells.claim(key, () => true)
        if (!(claim instanceof Claim)) continue
        expect(holders.get(key), `seed ${seed}: ${key} is held by another`).toBeUndefined()
        holders.set(key, id)
        open.set(key, claim)
      } else {
        open.delete(key)
        holders.delete(key)
        const name = `${id} ${round}`
        if (choice < 0.5) await held.release()
        else {
          await held.finish(by(name))
          results.push(name)
        }
      }
    }
  }
  await Promise.all(Array.from({ length: 6 }, act))
  const found = (await new CellFiles(folder).news()).map(({ machine }) => machine)
  expect(found.sort(), `seed ${seed}`).toEqual(results.sort())
})
