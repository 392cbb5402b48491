mod page;
mod text;
