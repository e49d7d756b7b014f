/** Makes folders for a test file and removes them after its tests. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'

export function temporaryFolder(): { readonly make: () => string } {
  const made: string[] = []
  afterAll(() => {
    for (const folder of made) rmSync(folder, { recursive: true, force: true })
  })
  return {
    make() {
      const folder = mkdtempSync(join(tmpdir(), 'choir-test-'))
      made.push(folder)
      return folder
    },
  }
}
