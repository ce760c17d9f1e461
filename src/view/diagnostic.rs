use crate::diagnostic::*; use super::Paint;
pub struct Style{pub paint:Paint,pub width:usize}
pub fn render(_d:&Diagnostic,_s:&Sources,_t:Style)->String{todo!()}
pub fn json(_d:&Diagnostic,_s:&Sources)->serde_json::Value{todo!()}
