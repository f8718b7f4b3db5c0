export async function run(): Promise<void> {}
export async function list(): Promise<void> {}
