import { spawnSync } from 'node:child_process'
import {
  appendFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { openCache } from './cache.ts'
import { temporaryFolder } from './testing/temporary-folder.ts'

const temporary = temporaryFolder()

async function setUp(root = temporary.make()) {
  const warnings: string[] = []
  const cache = await openCache(root, (message) => warnings.push(message))
  let builds = 0
  const get = () =>
    cache.entry('key', 'thing', async (folder) => {
      builds++
      writeFileSync(join(folder, 'a.bin'), 'some bytes')
      writeFileSync(join(folder, 'b.bin'), 'more bytes')
    })
  return { root, cache, warnings, get, builds: () => builds }
}

test('an entry is built once and found again', async () => {
  const { root, get, builds, cache } = await setUp()
  const place = await get()
  expect(await get()).toBe(place)
  expect(builds()).toBe(1)
  expect(readdirSync(place).sort()).toEqual(['a.bin', 'b.bin', 'manifest.json'])
  await cache.close()
  expect(readdirSync(root)).toEqual(['key'])
})

const damages: [string, (place: string) => void, RegExp][] = [
  ['truncated', (place) => truncateSync(join(place, 'a.bin'), 4), /a\.bin has 4 bytes instead of 10/],
  ['longer', (place) => appendFileSync(join(place, 'b.bin'), 'x'), /b\.bin has 11 bytes instead of 10/],
  ['of one flipped bit', (place) => writeFileSync(join(place, 'a.bin'), 'some bytez'), /a\.bin has changed/],
  ['without a file', (place) => rmSync(join(place, 'b.bin')), /b\.bin/],
  ['without a manifest', (place) => rmSync(join(place, 'manifest.json')), /manifest\.json/],
  ['of half a manifest', (place) => truncateSync(join(place, 'manifest.json'), 20), /manifest\.json is unreadable/],
]
for (const [name, damage, message] of damages)
  test(`a damaged entry (${name}) is rebuilt, with a message`, async () => {
    const { get, warnings, builds } = await setUp()
    const place = await get()
    damage(place)
    expect(await get()).toBe(place)
    expect(builds()).toBe(2)
    expect(warnings.join()).toMatch(message)
    expect(readFileSync(join(place, 'a.bin'), 'utf8')).toBe('some bytes')
    await get()
    expect(builds()).toBe(2)
  })

test('several concurrent builders leave one intact entry and no temporary folders', async () => {
  const { root, cache } = await setUp()
  const other = await openCache(root, () => {})
  let builds = 0
  const get = (from: typeof cache) =>
    from.entry('key', 'thing', async (folder) => {
      builds++
      await new Promise((done) => setTimeout(done, 30))
      writeFileSync(join(folder, 'a.bin'), 'same')
    })
  const places = await Promise.all([get(cache), get(other), get(cache)])
  expect(new Set(places).size).toBe(1)
  expect(builds).toBe(3)
  expect(readFileSync(join(places[0] as string, 'a.bin'), 'utf8')).toBe('same')
  await Promise.all([cache.close(), other.close()])
  expect(readdirSync(root)).toEqual(['key'])
})

test('a failed build leaves no entry, and a full disk or quota is reported as a lack of space', async () => {
  const { root, cache } = await setUp()
  const failing = (error: Error) => cache.entry('key', 'thing', () => Promise.reject(error))
  await expect(failing(new Error('broken'))).rejects.toThrow('broken')
  for (const code of ['ENOSPC', 'EDQUOT'])
    await expect(failing(Object.assign(new Error('full'), { code }))).rejects.toThrow(/no space left in .*data\.cache/)
  await cache.close()
  expect(readdirSync(root)).toEqual([])
})

test.runIf(process.platform === 'linux')(
  'a cache under /proc counts as not writable and is replaced without a delay',
  async () => {
    const { cache, warnings } = await setUp('/proc/choir/cache')
    expect(warnings.join()).toMatch(/cannot write the token cache \/proc\/choir\/cache \(ENOENT/)
    await cache.close()
  },
)

test('a cache that is not writable is replaced by a temporary one, with a warning', async () => {
  const file = join(temporary.make(), 'file')
  writeFileSync(file, '')
  const { cache, warnings, get } = await setUp(join(file, 'cache'))
  expect(warnings.join()).toMatch(/cannot write the token cache .*file.*using .* for this run only/)
  const place = await get()
  expect(existsSync(join(place, 'a.bin'))).toBe(true)
  await cache.close()
  expect(existsSync(dirname(place))).toBe(false)
})

test('temporary folders whose owner cannot be checked are removed after two days, not before', async () => {
  const root = temporary.make()
  const elsewhere = '.scratch-00000000-1-old'
  for (const name of ['.building-old', elsewhere, '.building-new', 'entry-old']) await mkdir(join(root, name))
  for (const name of ['.building-old', elsewhere, 'entry-old']) makeOld(join(root, name))
  const { cache } = await setUp(root)
  await cache.close()
  expect(readdirSync(root).sort()).toEqual(['.building-new', 'entry-old'])
})

test('folders of a killed process are removed at once; folders of a living one stay at any age', async () => {
  const root = temporary.make()
  const { cache } = await setUp(root)
  const ours = await cache.scratch()
  makeOld(ours)
  const { pid: dead } = spawnSync(process.execPath, ['-e', ''])
  for (const kind of ['scratch', 'building'])
    await mkdir(join(root, basename(ours).replace(/scratch-([0-9a-f]{8})-\d+-.*/, `${kind}-$1-${dead}-left`)))
  const other = await openCache(root, () => {})
  await other.close()
  expect(readdirSync(root)).toContain(basename(ours))
  expect(readdirSync(root).filter((name) => name.includes(`-${dead}-`))).toEqual([])
})

test('the cache stays usable if a leftover folder cannot be inspected', async () => {
  const root = temporary.make()
  symlinkSync(join(root, 'gone'), join(root, '.scratch-gone'))
  expect((await setUp(root)).warnings).toEqual([])
})

function makeOld(path: string): void {
  const threeDaysAgo = Date.now() / 1000 - 3 * 24 * 3600
  utimesSync(path, threeDaysAgo, threeDaysAgo)
}
