import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { RunError } from '../../../core/errors.ts'
import { temporaryFolder } from '../../../node/data/testing/temporary-folder.ts'
import { readPage } from './site.ts'

const { make } = temporaryFolder()

test('the page has its files by path, but no links and no other types of file', async () => {
  const folder = make()
  mkdirSync(join(folder, 'assets'))
  writeFileSync(join(folder, 'index.html'), 'page')
  writeFileSync(join(folder, 'icon.svg'), 'icon')
  writeFileSync(join(folder, 'assets', 'index-1.js'), 'code')
  writeFileSync(join(folder, 'assets', 'notes.txt'), 'notes')
  symlinkSync('/etc/passwd', join(folder, 'secret.html'))
  const page = await readPage(folder)
  expect([...page.keys()].sort()).toEqual(['/', '/assets/index-1.js', '/icon.svg'])
  expect([...page.values()].filter(({ hashed }) => hashed)).toHaveLength(1)
  expect(Buffer.from(page.get('/')?.bytes ?? []).toString()).toBe('page')
})

test('if the page is not built, the error says how to build it', async () => {
  for (const folder of [make(), '/nowhere']) {
    await expect(readPage(folder)).rejects.toThrow(RunError)
    await expect(readPage(folder)).rejects.toThrow('npm run build')
  }
})
