/** Names of the small Greek letters, as in LaTeX: α is alpha. */
const names =
  'alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau upsilon phi chi psi omega'

export const greekNames: Readonly<Record<string, string>> = Object.fromEntries(
  names.split(' ').map((name, i) => ['αβγδεζηθικλμνξοπρστυφχψω'[i] ?? '', name]),
)
