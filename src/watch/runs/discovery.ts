/**
 * Which runs there are below a folder. Links are not followed: one that stays inside leads to what is found at its own
 * place, and one that leads outside is none of ours. What a folder holds decides, never what it is called.
 */
import { createHash } from 'node:crypto'
import type { Dirent } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { basename, join, relative, sep } from 'node:path'
import { isRouterTrace } from '../router-traces/trace-record.ts'
import { readInside } from './confined.ts'
import type { Found } from './run.ts'
import { isRunConfig } from './run-config.ts'
import { MAX_CONFIG_BYTES } from './run-directory-reader.ts'

const MAX_DEPTH = 6
/** Entries of folders to look at below a root: enough for thousands of runs, and an end to any other folder. */
const MAX_ENTRIES = 20_000
const SKIPPED: ReadonlySet<string> = new Set(['node_modules', 'checkpoints'])
/** What a run directory has beside its configuration. */
const BESIDE: ReadonlySet<string> = new Set(['routing.jsonl', 'checkpoints', 'tokenizer.json', '.lock'])

export type Discovered =
  | (Found & { readonly kind: 'choir' })
  | (Found & { readonly kind: 'trace'; readonly files: readonly string[] })

/** Looks for runs again and again; what it knows of a file it asks no second time until the file changes. */
export class Discovery {
  private readonly verdicts = new Map<string, { readonly stamp: string; readonly is: boolean }>()
  /** Whether all folders could be looked at: a run that was not found is gone. */
  isComplete = true
  private left = 0

  /** @param roots Real paths. */
  async find(roots: readonly string[]): Promise<readonly Discovered[]> {
    this.isComplete = true
    const found = new Map<string, Discovered>()
    for (const root of roots) {
      this.left = MAX_ENTRIES
      for (const run of await this.below(root, root, 0)) if (!found.has(run.id)) found.set(run.id, run)
    }
    return [...found.values()]
  }

  private async below(root: string, folder: string, depth: number): Promise<Discovered[]> {
    const entries = await readdir(folder, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EACCES' && error.code !== 'ENOENT') this.isComplete = false
      return []
    })
    // A folder of very many files, such as data, does not hide what lies beside it.
    if (entries.length > this.left) {
      this.isComplete = false
      return []
    }
    this.left -= entries.length
    const names = new Set(entries.map(({ name }) => name))
    const found: Found = {
      id: createHash('sha256').update(folder).digest('hex').slice(0, 10),
      name: folder === root ? basename(root) : relative(root, folder).split(sep).join('/'),
      directory: folder,
      root,
    }
    if (await this.isRun(root, folder, names)) return [{ ...found, kind: 'choir' }]
    const traces = await this.tracesIn(root, folder, entries)
    const runs: Discovered[] = traces.length > 0 ? [{ ...found, kind: 'trace', files: traces }] : []
    if (depth === MAX_DEPTH) return runs
    for (const entry of entries)
      if (entry.isDirectory() && !SKIPPED.has(entry.name) && !entry.name.startsWith('.'))
        runs.push(...(await this.below(root, join(folder, entry.name), depth + 1)))
    return runs
  }

  private async isRun(root: string, folder: string, names: ReadonlySet<string>): Promise<boolean> {
    if (names.has('metrics.jsonl')) return true
    if (!names.has('config.json')) return false
    const path = join(folder, 'config.json')
    // A damaged configuration is a run's where a run's other files lie beside it.
    return this.verdict(path, async () => {
      const text = (await readInside(root, path, MAX_CONFIG_BYTES))?.toString()
      if (text === undefined) return false
      return isRunConfig(text) ?? (folder === root || [...names].some((name) => BESIDE.has(name)))
    })
  }

  private async tracesIn(root: string, folder: string, entries: readonly Dirent[]): Promise<string[]> {
    const traces: string[] = []
    for (const { name } of entries.filter((entry) => entry.isFile() && entry.name.endsWith('.jsonl'))) {
      const path = join(folder, name)
      if (await this.verdict(path, () => isRouterTrace(root, path))) traces.push(name)
    }
    return traces.sort()
  }

  /** A file that is what it was asked for stays that as long as it is the same file; another may become it. */
  private async verdict(path: string, ask: () => Promise<boolean>): Promise<boolean> {
    const file = await stat(path).catch(() => undefined)
    if (!file) return false
    const known = this.verdicts.get(path)
    const stamp = `${file.ino} ${known?.is ? '' : `${file.size} ${file.mtimeMs}`}`
    if (known?.stamp === stamp) return known.is
    const is = await ask()
    this.verdicts.set(path, { stamp: `${file.ino} ${is ? '' : `${file.size} ${file.mtimeMs}`}`, is })
    return is
  }
}
