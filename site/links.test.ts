import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../src/node/data/testing/temporary-folder.ts'
import { deadLinks, readPage } from './links.ts'

const { make } = temporaryFolder()

test('links to missing pages, missing elements and files outside the site are dead', async () => {
  const folder = make()
  const pages: Readonly<Record<string, string>> = {
    'index.html':
      '<a href="b.html#here"></a><a href="b.html#gone"></a><a href="c.html"></a><a href="https://a.b/"></a>',
    'b.html': '<p id="here"></p><a href="file:///etc"></a><img src="d.svg"><a href="play/"></a><a href="./"></a>',
    'play/index.html': '<a href="not-checked.html"></a>',
  }
  for (const [name, html] of Object.entries(pages)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), html)
  }
  expect((await deadLinks(folder, 'play/')).sort()).toEqual([
    'b.html: d.svg',
    'b.html: file:///etc',
    'index.html: b.html#gone',
    'index.html: c.html',
  ])
})

test('addresses of pictures for several screens are read one by one', () => {
  expect(readPage('<source srcset="a.svg 1x, b.svg 2x"><a id="x" href="#x">').links).toEqual(['a.svg', 'b.svg', '#x'])
})
