//! Which names an expression uses, without evaluating it.

use std::ops::Range;

use hcl_edit::expr::{Expression, ObjectKey, TraversalOperator};
use hcl_edit::template::{Directive, Element, Template};
use hcl_edit::{Decorated, Span as _};

/// A name at the root of an expression and the steps that follow it.
pub(super) struct Reference<'e> {
    pub root: &'e str,
    pub steps: &'e [Decorated<TraversalOperator>],
    pub range: Option<Range<usize>>,
}

/// Every reference of an expression that is not to a name bound in it by a `for`.
pub(super) fn references(expression: &Expression) -> Vec<Reference<'_>> {
    let mut walk = Walk { bound: Vec::new(), found: Vec::new() };
    walk.expression(expression);
    walk.found
}

struct Walk<'e> {
    bound: Vec<&'e str>,
    found: Vec<Reference<'e>>,
}

impl<'e> Walk<'e> {
    fn add(
        &mut self,
        root: &'e str,
        steps: &'e [Decorated<TraversalOperator>],
        range: Option<Range<usize>>,
    ) {
        if !self.bound.contains(&root) {
            self.found.push(Reference { root, steps, range });
        }
    }

    fn expression(&mut self, expression: &'e Expression) {
        match expression {
            Expression::Null(_)
            | Expression::Bool(_)
            | Expression::Number(_)
            | Expression::String(_) => {}
            Expression::Array(array) => array.iter().for_each(|item| self.expression(item)),
            Expression::Object(object) => {
                for (key, value) in object {
                    if let ObjectKey::Expression(key) = key {
                        self.expression(key);
                    }
                    self.expression(value.expr());
                }
            }
            Expression::StringTemplate(template) => self.template(template),
            Expression::HeredocTemplate(heredoc) => self.template(&heredoc.template),
            Expression::Parenthesis(inner) => self.expression(inner.inner()),
            Expression::Variable(name) => self.add(name.as_str(), &[], expression.span()),
            Expression::Conditional(conditional) => {
                self.expression(&conditional.cond_expr);
                self.expression(&conditional.true_expr);
                self.expression(&conditional.false_expr);
            }
            Expression::FuncCall(call) => call.args.iter().for_each(|item| self.expression(item)),
            Expression::Traversal(traversal) => {
                match &traversal.expr {
                    Expression::Variable(name) => {
                        self.add(name.as_str(), &traversal.operators, expression.span());
                    }
                    other => self.expression(other),
                }
                for step in &traversal.operators {
                    if let TraversalOperator::Index(index) = step.value() {
                        self.expression(index);
                    }
                }
            }
            Expression::UnaryOp(operation) => self.expression(&operation.expr),
            Expression::BinaryOp(operation) => {
                self.expression(&operation.lhs_expr);
                self.expression(&operation.rhs_expr);
            }
            Expression::ForExpr(expression) => {
                let intro = &expression.intro;
                self.expression(&intro.collection_expr);
                let outer = self.bound.len();
                self.bound.extend(intro.key_var.iter().map(|name| name.as_str()));
                self.bound.push(intro.value_var.as_str());
                if let Some(key) = &expression.key_expr {
                    self.expression(key);
                }
                self.expression(&expression.value_expr);
                if let Some(condition) = &expression.cond {
                    self.expression(&condition.expr);
                }
                self.bound.truncate(outer);
            }
        }
    }

    fn template(&mut self, template: &'e Template) {
        for element in template {
            match element {
                Element::Literal(_) => {}
                Element::Interpolation(inner) => self.expression(&inner.expr),
                Element::Directive(directive) => match directive.as_ref() {
                    Directive::If(directive) => {
                        self.expression(&directive.if_expr.cond_expr);
                        self.template(&directive.if_expr.template);
                        if let Some(otherwise) = &directive.else_expr {
                            self.template(&otherwise.template);
                        }
                    }
                    Directive::For(directive) => {
                        let intro = &directive.for_expr;
                        self.expression(&intro.collection_expr);
                        let outer = self.bound.len();
                        self.bound.extend(intro.key_var.iter().map(|name| name.as_str()));
                        self.bound.push(intro.value_var.as_str());
                        self.template(&intro.template);
                        self.bound.truncate(outer);
                    }
                },
            }
        }
    }
}
