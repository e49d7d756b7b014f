import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { expect, test } from 'vitest'
import { runSchema } from '../../../core/config/run-config.ts'
import { temporaryFolder } from '../../../node/data/testing/temporary-folder.ts'
import { permittedData } from './permitted-data.ts'

const { make } = temporaryFolder()
const dataOf = (source: string | readonly string[]) => runSchema.parse({ data: { source, cache: '/elsewhere' } }).data

function folders() {
  const [inside, outside] = [join(make(), 'inside'), join(make(), 'outside')]
  for (const folder of [inside, outside]) {
    mkdirSync(folder)
    writeFileSync(join(folder, 'a.txt'), 'text')
  }
  symlinkSync(join(outside, 'a.txt'), join(inside, 'linked.md'))
  return { inside, outside }
}

test('a corpus by name is permitted, and the cache folder of the run is ignored', async () => {
  const { cache, source } = await permittedData(dataOf('sotu'), [], '.')
  expect([source, cache]).toEqual(['sotu', undefined])
})

test('files, folders and globs below permitted paths are permitted', async () => {
  const { inside } = folders()
  for (const source of [join(inside, 'a.txt'), join(inside, '*.txt'), relative('.', join(inside, 'a.*'))])
    expect((await permittedData(dataOf(['moby-dick', source]), [inside], '.')).source).toEqual(['moby-dick', source])
  expect((await permittedData(dataOf(join(inside, 'a.txt')), [join(inside, 'a.txt')], '.')).source).toBe(
    join(inside, 'a.txt'),
  )
})

test('no other path is permitted, whether by name, glob, `..` or link', async () => {
  const { inside, outside } = folders()
  const elsewhere = [
    join(outside, 'a.txt'),
    outside,
    join(outside, '*.txt'),
    `${inside}/../../*/outside/*.txt`,
    `${inside}/*/../../${relative(join(inside, '..'), outside)}/*.txt`,
    join(inside, 'linked.md'),
    join(inside, '*'),
    inside,
    `${inside}-and-more`,
    join(outside, 'missing.txt'),
    '-',
  ]
  for (const source of elsewhere)
    await expect(permittedData(dataOf([join(inside, 'a.txt'), source]), [inside], '.'), source).rejects.toThrow()
})

test('text in the run directory is permitted, unless a link leads out of it', async () => {
  const { inside } = folders()
  const permitted = (source: string) => permittedData(dataOf(source), [], inside)
  expect((await permitted('run:a.txt')).source).toBe('run:a.txt')
  for (const source of ['run:linked.md', 'run:../outside/a.txt', 'run:missing.txt'])
    await expect(permitted(source), source).rejects.toThrow()
})

test('outside permitted paths, missing and existing files get the same message', async () => {
  const { inside, outside } = folders()
  const refusal = (name: string) =>
    permittedData(dataOf(join(outside, name)), [inside], '.').then(
      () => 'none',
      (error: Error) => error.message.replaceAll(name, 'NAME'),
    )
  expect(await refusal('a.txt')).toBe(await refusal('b.txt'))
})
