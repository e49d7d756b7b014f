/**
 * Names of columns in files that programs read: lower case, digits and underscores, such as `held_out_loss`. They need
 * no quotes in SQL and are attributes in pandas.
 */
import { greekNames } from './greek.ts'

/**
 * Unique names of columns, one for each title: `Per FLOP` is `per_flop`, `model.moe.sharedHidden` is
 * `model_moe_shared_hidden`, and γ is `gamma`. A title without any letter or digit of ASCII is `column`. A name that is
 * taken gets a number.
 */
export function columnNames(titles: readonly string[]): string[] {
  const taken = new Set<string>()
  return titles.map((title) => {
    const base = nameOf(title)
    let name = base
    for (let i = 2; taken.has(name); i++) name = `${base}_${i}`
    taken.add(name)
    return name
  })
}

function nameOf(title: string): string {
  const words = title
    .replace(/%/g, ' percent ')
    .replace(/[α-ω]/g, (letter) => ` ${greekNames[letter] ?? ''} `)
    .replace(/(?<=[a-z\d])(?=[A-Z][a-z])/g, ' ')
    .normalize('NFKD')
    .toLowerCase()
    .match(/[a-z\d]+/g)
  const name = (words ?? ['column']).join('_').slice(0, 60).replace(/_$/, '')
  // A name that begins with a digit needs quotes in SQL.
  return /^\d/.test(name) ? `_${name}` : name
}
