// The lines that differ between two texts: the longest common subsequence, which is what people expect of a diff.

export function diff(before, after) {
  const [one, two] = [before.split("\n"), after.split("\n")];
  const lengths = Array.from({ length: one.length + 1 }, () => new Uint32Array(two.length + 1));
  for (let i = one.length - 1; i >= 0; i -= 1) {
    for (let j = two.length - 1; j >= 0; j -= 1) lengths[i][j] = one[i] === two[j] ? lengths[i + 1][j + 1] + 1 : Math.max(lengths[i + 1][j], lengths[i][j + 1]);
  }
  const lines = [];
  let [i, j] = [0, 0];
  while (i < one.length || j < two.length) {
    if (i < one.length && j < two.length && one[i] === two[j]) {
      lines.push(["same", one[i]]);
      i += 1;
      j += 1;
    } else if (i < one.length && (j === two.length || lengths[i + 1][j] >= lengths[i][j + 1])) {
      lines.push(["removed", one[i]]);
      i += 1;
    } else {
      lines.push(["added", two[j]]);
      j += 1;
    }
  }
  return lines;
}
