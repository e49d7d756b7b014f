/**
 * The size of the code, in tokens of TypeScript without comments and white space, so that neither wider lines nor
 * missing comments make it smaller. A part is a folder of the second level of src/, web/ or test/, or a folder beside.
 *
 *     node .ci/size.mjs                  the table, and which parts exceed their row of size.json (exit code 1)
 *     node .ci/size.mjs --against REV    the table, and the difference to another commit
 *
 * Tests are test files, folders testing/ and test/; what is neither source nor test, such as bench/, is not counted.
 * A change that exceeds a row raises it in size.json, in the commit that needs it, whose body says why.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import ts from 'typescript'

const git = (...args) => execFileSync('git', args, { encoding: 'utf8', maxBuffer: 2 ** 30 })
const isCode = (path) => /^(?:src|web|site|bin|test)\/.*\.(?:ts|tsx|js|mjs)$/.test(path) && !path.endsWith('.d.ts')
const isTest = (path) => /\.test\.tsx?$|\/testing\/|^test\//.test(path)
const partOf = (path) => (isTest(path) ? 'tests of ' : '') + path.split('/').slice(0, -1).slice(0, depthOf(path)).join('/')
const depthOf = (path) => (path.startsWith('src/') ? 3 : /^(?:web|test)\//.test(path) ? 2 : 1)

/** The tokens of a file: leaves of its syntax tree, since a scanner alone cannot read templates and JSX. */
function tokensOf(path, text) {
  const kind = path.endsWith('.tsx') ? ts.ScriptKind.TSX : path.endsWith('.ts') ? ts.ScriptKind.TS : ts.ScriptKind.JS
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, false, kind)
  let tokens = 0
  const visit = (node) => {
    if (ts.isJSDoc(node)) return
    const children = node.getChildren(file)
    children.forEach(visit)
    if (children.length === 0 && node.getWidth(file) > 0) tokens++
  }
  visit(file)
  return tokens
}

/** Tokens by part, of all paths whose text `read` returns. */
function sizes(paths, read) {
  const parts = new Map()
  for (const path of paths.filter(isCode))
    parts.set(partOf(path), (parts.get(partOf(path)) ?? 0) + tokensOf(path, read(path)))
  return parts
}

const lines = (text) => text.split('\n').filter(Boolean)
const here = sizes(lines(git('ls-files', '--deduplicate', '-co', '--exclude-standard')), (path) => {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return '' // Deleted, and not yet committed.
  }
})
const [option, revision] = process.argv.slice(2)
if (option !== undefined && (option !== '--against' || revision === undefined)) {
  console.error(`size: unknown option ${option} (usage: node .ci/size.mjs [--against REV])`)
  process.exit(2)
}
const before =
  revision === undefined
    ? new Map()
    : sizes(lines(git('ls-tree', '-r', '--name-only', revision)), (path) => git('show', `${revision}:${path}`))
const budget = new Map(Object.entries(JSON.parse(readFileSync(new URL('size.json', import.meta.url), 'utf8'))))

const number = (value) => (value ?? 0).toLocaleString('en-US').padStart(11)
const signed = (value) => `${value > 0 ? '+' : ''}${value.toLocaleString('en-US')}`.padStart(11)
const sum = (parts, test) =>
  [...parts].reduce((total, [part, size]) => total + (part.startsWith('tests of ') === test ? size : 0), 0)
const row = (part, size, limit, old) =>
  console.log(number(size) + (limit === undefined ? ''.padStart(11) : number(limit)) + (revision === undefined ? '' : signed(size - old)), '', part)

console.log(`${'tokens'.padStart(11)}${'at most'.padStart(11)}${revision === undefined ? '' : 'difference'.padStart(11)}`)
for (const part of [...new Set([...here.keys(), ...before.keys()])].sort())
  row(part, here.get(part) ?? 0, budget.get(part), before.get(part) ?? 0)
for (const test of [false, true]) row(test ? 'all tests' : 'all source', sum(here, test), undefined, sum(before, test))

const exceeded = [...here].filter(([part, size]) => size > (budget.get(part) ?? 0))
for (const [part, size] of exceeded)
  console.error(`size: ${part} has ${size} tokens, ${size - (budget.get(part) ?? 0)} more than .ci/size.json allows`)
process.exitCode = exceeded.length > 0 ? 1 : 0
