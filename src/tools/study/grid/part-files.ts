/**
 * The files of the user's own parts (a router, a layer, ...) that a specification names. They are looked for beside the
 * specification, then in the current folder. A study keeps copies of them in its folder, so that its study.yaml works
 * wherever the folder is.
 */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, dirname, isAbsolute, join } from 'node:path'
import { kindOf, pathOf, pluginKinds } from '../../../node/run/plugins/kinds.ts'
import { isPluginPath } from '../../../node/run/plugins/plugin-file.ts'
import { makeFolder, replaceFile } from '../../../node/system/disk.ts'

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

/** The specification of a file, with the paths of parts that are beside it. */
export const besideFile = <Specification>(specification: Specification, file: string): Specification =>
  mapped(specification, (path) => {
    const beside = join(dirname(file), path)
    return !isAbsolute(path) && existsSync(beside) ? beside : path
  }) as Specification

/** Copies the parts into the folder of a study, and returns the specification that names the copies. */
export async function keepParts<Specification>(
  specification: Specification,
  directory: string,
): Promise<Specification> {
  const paths = new Set<string>()
  mapped(specification, (path) => {
    paths.add(path)
    return path
  })
  const kept = new Map<string, string>()
  const texts = new Map<string, string>()
  for (const path of paths) {
    const text = await readFile(path, 'utf8').catch(() => null)
    // Its runs have copies of a part whose file is gone meanwhile.
    if (text === null) continue
    // The name of a part is that of its file, so another part with this name has a folder of its own.
    let copy = join(FOLDER, basename(path))
    for (let i = 2; (texts.get(copy) ?? text) !== text; i++) copy = join(FOLDER, String(i), basename(path))
    texts.set(copy, text)
    kept.set(path, copy)
  }
  for (const [copy, text] of texts) {
    await makeFolder(join(directory, dirname(copy)))
    await replaceFile(join(directory, copy), text)
  }
  return mapped(specification, (path) => kept.get(path) ?? path) as Specification
}
