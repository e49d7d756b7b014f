/**
 * The files of the user's own parts (a router, a layer, ...) that a specification or its base names, and the file of the
 * base. They are looked for beside the specification, then in the current folder. A study keeps copies of them in its
 * folder, so that its study.yaml works wherever the folder is.
 */
import { readFile } from 'node:fs/promises'
import { basename, dirname, extname, join, normalize, relative } from 'node:path'
import { stringify } from 'yaml'
import { isFields } from '../../../core/config/fields.ts'
import { kindOf, pathOf, pluginKinds } from '../../../node/run/plugins/kinds.ts'
import { besidePath, isPluginPath } from '../../../node/run/plugins/plugin-file.ts'
import { withPluginPaths } from '../../../node/run/plugins/plugins.ts'
import { readYaml } from '../../../node/run/read-yaml.ts'
import { makeFolder, replaceShared } from '../../../node/system/disk.ts'
import type { Specification } from '../specification.ts'

/** Folder of the copies, in the folder of a study. */
const FOLDER = 'parts'

const fields = pluginKinds.map((kind) => pathOf(kindOf(kind)))

/** The value with other paths of parts. @param at The path of the value: settings may be grouped or dotted. */
function mapped(value: unknown, of: (path: string) => string, at = ''): unknown {
  if (Array.isArray(value)) return value.map((each) => mapped(each, of, at))
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, mapped(inner, of, `${at}.${key}`)]))
  return isPluginPath(value) && fields.some((field) => at.endsWith(`.${field}`)) ? of(value) : value
}

/** Whether the base of a specification is a file, not the name of a preset. */
const isFile = (base: string): boolean => /\.(ya?ml|json)$/i.test(base)

/** The specification of a file, with the paths of parts, and of a base, that are beside it. */
export function besideFile(specification: Specification, file: string): Specification {
  const { base } = specification
  const parts = mapped(specification, (path) => besidePath(path, file)) as Specification
  return isFile(base) ? { ...parts, base: besidePath(base, file) } : parts
}

/** Copies the parts and the base into the folder of a study, and returns the specification that names the copies. */
export async function keepParts(specification: Specification, directory: string): Promise<Specification> {
  const copies = new Copies()
  const { base } = specification
  const paths = new Set<string>()
  mapped(specification, (path) => {
    paths.add(path)
    return path
  })
  for (const path of paths) await copies.add(path)
  if (isFile(base)) await copies.addBase(base)
  await copies.write(directory)
  const kept = mapped(specification, (path) => copies.of(path)) as Specification
  return { ...kept, base: copies.of(base) }
}

/** Copies of files in the folder `parts`. */
class Copies {
  private readonly kept = new Map<string, string>()
  private readonly texts = new Map<string, string>()

  /** The path of the copy of a file, or of the file itself if it is gone: its runs have copies of a part. */
  of(path: string): string {
    return this.kept.get(path) ?? path
  }

  async add(path: string): Promise<void> {
    const text = await readFile(path, 'utf8').catch(() => null)
    if (text !== null) this.put(path, text)
  }

  /** Copies a configuration, with the parts that it names. */
  async addBase(path: string): Promise<void> {
    const text = await readFile(path, 'utf8').catch(() => null)
    if (text === null) return
    const content = readYaml(text, path)
    if (!isFields(content)) return this.put(path, text)
    const paths: string[] = []
    withPluginPaths(content, (part) => {
      paths.push(besidePath(part, path))
      return part
    })
    for (const part of paths) await this.add(part)
    const changed = withPluginPaths(content, (part) => {
      const copy = this.kept.get(besidePath(part, path))
      // As seen from the copy of the base, which is in the same folder.
      return copy === undefined || relative(FOLDER, copy) === normalize(part) ? part : relative(FOLDER, copy)
    })
    const isSame = JSON.stringify(changed) === JSON.stringify(content)
    const other = () => (extname(path) === '.json' ? `${JSON.stringify(changed, null, 2)}\n` : stringify(changed))
    this.put(path, isSame ? text : other())
  }

  private put(path: string, text: string): void {
    // The name of a part is that of its file, so another part with this name has a folder of its own.
    let copy = join(FOLDER, basename(path))
    for (let i = 2; (this.texts.get(copy) ?? text) !== text; i++) copy = join(FOLDER, String(i), basename(path))
    this.texts.set(copy, text)
    this.kept.set(path, copy)
  }

  async write(directory: string): Promise<void> {
    for (const [copy, text] of this.texts) {
      await makeFolder(join(directory, dirname(copy)))
      await replaceShared(join(directory, copy), text)
    }
  }
}
