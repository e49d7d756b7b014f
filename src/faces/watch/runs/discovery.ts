/**
 * Finds the runs below a folder, by the contents of folders and not by their names. Links are not followed: a target
 * inside is found at its own path, and a target outside must not be read.
 */
import { createHash } from 'node:crypto'
import type { Dirent } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { basename, join, relative, sep } from 'node:path'
import { readInside } from './confined.ts'
import type { FoundRun } from './run.ts'
import { isRunConfig } from './run-config.ts'
import { MAX_CONFIG_BYTES } from './run-directory-reader.ts'
import { isRouterTrace } from './trace-record.ts'

const MAX_DEPTH = 6
/** Limit of the directory entries examined below a root: enough for thousands of runs, and a bound for any folder. */
const MAX_ENTRIES = 20_000
const SKIPPED_FOLDERS: ReadonlySet<string> = new Set(['node_modules', 'checkpoints'])
/** Files and folders of a run directory besides its configuration. */
const RUN_FILES: ReadonlySet<string> = new Set(['routing.jsonl', 'checkpoints', 'tokenizer.json', '.lock'])

export type Discovered =
  | (FoundRun & { readonly kind: 'choir' })
  | (FoundRun & { readonly kind: 'trace'; readonly files: readonly string[] })

/** Looks for runs repeatedly. It examines a file again only after it changed. */
export class Discovery {
  private readonly verdicts = new Map<string, { readonly stamp: string; readonly isMatch: boolean }>()
  /** Whether all folders could be read, so that a run that was not found is gone. */
  isComplete = true
  private entriesLeft = 0
  private signal: AbortSignal | undefined

  /** @param roots Real paths. */
  async find(roots: readonly string[], signal?: AbortSignal): Promise<readonly Discovered[]> {
    this.isComplete = true
    this.signal = signal
    const found = new Map<string, Discovered>()
    for (const root of roots) {
      this.entriesLeft = MAX_ENTRIES
      for (const run of await this.search(root, root, 0)) if (!found.has(run.id)) found.set(run.id, run)
    }
    return [...found.values()]
  }

  private async search(root: string, folder: string, depth: number): Promise<Discovered[]> {
    const entries = await readdir(folder, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EACCES' && error.code !== 'ENOENT') this.isComplete = false
      return []
    })
    // A folder with very many files, such as data, must not hide the runs beside it.
    if (entries.length > this.entriesLeft || this.signal?.aborted) {
      this.isComplete = false
      return []
    }
    this.entriesLeft -= entries.length
    const names = new Set(entries.map(({ name }) => name))
    const found: FoundRun = {
      id: createHash('sha256').update(folder).digest('hex').slice(0, 10),
      path: folder === root ? basename(root) : relative(root, folder).split(sep).join('/'),
      directory: folder,
      root,
    }
    if (await this.isRun(root, folder, names)) return [{ ...found, kind: 'choir' }]
    const traces = await this.tracesIn(root, folder, entries)
    const runs: Discovered[] = traces.length > 0 ? [{ ...found, kind: 'trace', files: traces }] : []
    if (depth === MAX_DEPTH) return runs
    for (const entry of entries)
      if (entry.isDirectory() && !SKIPPED_FOLDERS.has(entry.name) && !entry.name.startsWith('.'))
        runs.push(...(await this.search(root, join(folder, entry.name), depth + 1)))
    return runs
  }

  private async isRun(root: string, folder: string, names: ReadonlySet<string>): Promise<boolean> {
    if (names.has('metrics.jsonl')) return true
    if (!names.has('config.json')) return false
    const path = join(folder, 'config.json')
    // A damaged configuration belongs to a run if other files of a run are beside it.
    return this.remembered(path, async () => {
      const text = (await readInside(root, path, MAX_CONFIG_BYTES))?.toString()
      if (text === undefined) return false
      return isRunConfig(text) ?? (folder === root || [...names].some((name) => RUN_FILES.has(name)))
    })
  }

  private async tracesIn(root: string, folder: string, entries: readonly Dirent[]): Promise<string[]> {
    const traces: string[] = []
    for (const { name } of entries.filter((entry) => entry.isFile() && entry.name.endsWith('.jsonl'))) {
      const path = join(folder, name)
      if (await this.remembered(path, () => isRouterTrace(root, path))) traces.push(name)
    }
    return traces.sort()
  }

  /** Remembers a match as long as the inode stays, and a mismatch until the file changes. */
  private async remembered(path: string, test: () => Promise<boolean>): Promise<boolean> {
    const file = await stat(path).catch(() => undefined)
    if (!file) return false
    const known = this.verdicts.get(path)
    const stamp = `${file.ino} ${known?.isMatch ? '' : `${file.size} ${file.mtimeMs}`}`
    if (known?.stamp === stamp) return known.isMatch
    const isMatch = await test()
    this.verdicts.set(path, { stamp: `${file.ino} ${isMatch ? '' : `${file.size} ${file.mtimeMs}`}`, isMatch })
    return isMatch
  }
}
