/**
 * A strict reader of our LaTeX, for tests. It refuses what pdflatex would refuse or misread: characters that are not
 * ASCII, groups, environments or formulas that do not end, specials outside of their place, unknown commands, and rows of
 * a table with too few or too many cells.
 */

const commands = new Set(
  `documentclass usepackage newsavebox fitbox newcommand fit sbox ifdim wd linewidth resizebox usebox fi dimexpr ht dp
  relax textheight setlength emergencystretch title author date maketitle noindent textbf texttt section begin end item
  caption label input includegraphics centering addtocounter nocite bibliographystyle bibliography
  toprule midrule bottomrule endhead addlinespace multicolumn phantom rlap scriptsize
  textbackslash textasciitilde textasciicircum dots dag ddag S P ss ae AE oe OE o O l L u r H v c
  times pm cdot le ge approx ne to leftarrow infty surd sum int partial circ mathrm
  alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega
  Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega`.split(/\s+/),
)

export function checkTex(source: string): void {
  const outside = /[^\n -~]/u.exec(source)
  if (outside) throw new Error(`not ASCII: ${JSON.stringify(outside[0])}`)
  let isMath = false
  let cells = 0
  const open: string[] = []
  const tables: number[] = []
  const body = source.replace(/^(?:%.*\n)+/, '').replace(/%\n/g, '')
  for (let at = 0; at < body.length; ) {
    const rest = body.slice(at)
    const [token = ''] = /^\\(?:[A-Za-z]+\*?|.)|^./s.exec(rest) ?? []
    at += token.length
    const fail = (why: string): never => {
      throw new Error(`${why}: ${body.slice(Math.max(0, at - 60), at + 20)}`)
    }
    const environment = /^\\(begin|end)\{(\w+)\}/.exec(rest)
    if (environment) {
      const [all, side, name = ''] = environment
      at += all.length - token.length
      if (side === 'end') {
        if (open.pop() !== name) fail(`unexpected \\end{${name}}`)
        if (/^(?:tabular|longtable)$/.test(name)) tables.pop()
        continue
      }
      open.push(name)
      if (!/^(?:tabular|longtable)$/.test(name)) continue
      const [columns = ''] = /^\{(?:[lr]|p\{[\d.]+\\linewidth\})+\}/.exec(body.slice(at)) ?? fail('no columns')
      at += columns.length
      tables.push(columns.slice(1, -1).replace(/p\{[^}]*\}/g, 'p').length)
      cells = 1
      continue
    }
    const columns = tables.at(-1)
    if (token === '\\\\') {
      if (columns === undefined || open.at(-1) === '{') fail('end of a row outside of a table')
      if (cells !== columns) fail(`${cells} cells for ${columns} columns`)
      cells = 1
    } else if (token === '&') {
      if (columns === undefined) fail('& outside of a table')
      cells++
    } else if (token === '\\multicolumn') cells += Number(/^\{(\d+)\}/.exec(body.slice(at))?.[1]) - 1
    else if (token === '{') open.push('{')
    else if (token === '}') {
      if (open.pop() !== '{') fail('} without {')
    } else if (token === '$') isMath = !isMath
    else if (token === '^' && !isMath) fail('^ outside of a formula')
    else if (/^[_%~#]$/.test(token) && !(token === '#' && /^\d/.test(body.slice(at))) && token !== '~')
      fail('bare special')
    else if (/^[<>|]$/.test(token) && !isMath && !open.includes('{')) fail(`${token} outside of a formula`)
    else if (/^\\[A-Za-z]/.test(token) && !commands.has(token.slice(1).replace('*', ''))) fail('unknown command')
    else if (token === '\n' && isMath) fail('formula without end')
  }
  if (open.length > 0 || isMath) throw new Error(`not ended: ${open.join(' ')}${isMath ? ' $' : ''}`)
}
