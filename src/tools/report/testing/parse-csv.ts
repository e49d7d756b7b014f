/** A strict reader of RFC 4180, for tests: rows end in CRLF, and only quoted fields contain quotes, commas or ends of lines. */
export function parseCsv(text: string): string[][] {
  const rows: string[][] = [[]]
  let rest = text
  while (rest !== '') {
    const [all = '', quoted, plain = '', end = ''] = /^(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/.exec(rest) ?? []
    if (end === '') throw new Error(`not a field: ${rest.slice(0, 80)}`)
    rows.at(-1)?.push(quoted === undefined ? plain : quoted.replaceAll('""', '"'))
    rest = rest.slice(all.length)
    if (end === '\r\n' && rest !== '') rows.push([])
  }
  return rows
}

/** Rows as objects by the names of the columns. */
export function csvRecords(text: string): Record<string, string>[] {
  const [names = [], ...rows] = parseCsv(text)
  return rows.map((row) => {
    if (row.length !== names.length) throw new Error(`${row.length} fields for ${names.length} columns`)
    return Object.fromEntries(names.map((name, i) => [name, row[i] ?? '']))
  })
}
