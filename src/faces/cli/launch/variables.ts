/** Names of the variables that change what Choir computes with, such as CHOIR_DNNL. All ranks need the same. */
export const choirVariables = (env: Readonly<Record<string, string | undefined>>): string[] =>
  Object.keys(env)
    .filter((name) => /^CHOIR_\w+$/.test(name) && env[name] !== undefined)
    .sort()
