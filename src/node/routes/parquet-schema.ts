/** The columns of `routes.parquet`: plain ones, and lists of as many elements as a token has choices. */
import type { ColumnSource, SchemaElement } from 'hyparquet-writer'
import type { RecordedRouter, RoutedToken, RouteRow } from './format.ts'

const plain = (name: keyof RouteRow, type: Partial<SchemaElement>, isOptional = false): SchemaElement => ({
  name,
  repetition_type: isOptional ? 'OPTIONAL' : 'REQUIRED',
  ...type,
})

/** A list in the three levels of Parquet's format. */
const list = (name: keyof RouteRow, type: SchemaElement['type']): SchemaElement[] => [
  { name, repetition_type: 'REQUIRED', num_children: 1, converted_type: 'LIST' },
  { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
  { name: 'element', repetition_type: 'REQUIRED', ...(type && { type }) },
]

const text = { type: 'BYTE_ARRAY', converted_type: 'UTF8' } as const
const whole = { type: 'INT32' } as const

const columns: Readonly<Record<keyof RouteRow, readonly SchemaElement[]>> = {
  document: [plain('document', whole)],
  position: [plain('position', whole)],
  token: [plain('token', whole)],
  text: [plain('text', text)],
  layer: [plain('layer', whole)],
  module: [plain('module', text)],
  experts: list('experts', 'INT32'),
  gates: list('gates', 'FLOAT'),
  entropy: [plain('entropy', { type: 'FLOAT' }, true)],
  dropped: list('dropped', 'INT32'),
}

/** The names of the columns, in the order of the file. */
export const columnNames = Object.keys(columns) as (keyof RouteRow)[]

export const routeSchema: readonly SchemaElement[] = [
  { name: 'root', num_children: columnNames.length },
  ...Object.values(columns).flat(),
]

/** The rows of tokens, column by column. */
export function routeColumns(tokens: readonly RoutedToken[], routers: readonly RecordedRouter[]): ColumnSource[] {
  const rows: RouteRow[] = tokens.flatMap(({ routes, ...token }) =>
    routes.map((route, i) => {
      const { layer, module } = routers[i] as RecordedRouter
      return { ...token, ...route, layer, module }
    }),
  )
  return columnNames.map((name) => ({
    name,
    data: rows.map((row) => row[name]),
    // Measured numbers hardly repeat, so a dictionary of them would only take time.
    ...((name === 'gates' || name === 'entropy') && { encoding: 'PLAIN' as const }),
  }))
}
